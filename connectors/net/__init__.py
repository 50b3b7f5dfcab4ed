"""The only way out: registered origins, checked addresses, bounded answers."""
