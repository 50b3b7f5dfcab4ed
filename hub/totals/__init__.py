"""Regional and programme ledgers: totals of what people did, told so that nobody is found in them. ADR 0034.

facts.py        the acts of final windows, whole columns            reads the database
taking.py       which programme an act is told in                   pure
folding.py      which cells may be told, and what is told instead   pure
telling.py      the totals of a window, computed once and kept      reads and writes the database
asking.py       answers, which are sums of told cells               reads the database
programmes.py   who runs a programme, and what it takes             the database
membership.py   who joined by their own decision, and who left      the database
charts.py       a map of tiles and bars, as SVG                     pure
"""
