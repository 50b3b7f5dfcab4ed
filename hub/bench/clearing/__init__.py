"""How well clearing decides: a labelled corpus, a scorer, peers on the same records, and the page that tells it."""
