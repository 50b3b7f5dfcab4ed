"""The platforms of the town: real servers, each speaking its own format from the platform's side of the wire."""
