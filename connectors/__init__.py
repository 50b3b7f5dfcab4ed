"""The only speakers to platforms: one file for each protocol or platform.

Bytes out, no carbon inside: a connector checks who speaks and hands on rows as the platform wrote them. It knows no
behaviour, no factor and no mass; mappings translate.
"""
