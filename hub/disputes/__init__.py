"""Disputes: somebody says that a link, an act, an amount or a use is wrong; what is still held is locked until it is decided."""
