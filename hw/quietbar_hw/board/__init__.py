"""An engine on a board: a serial link to a host, the bridge behind it, the ULX3S, and the host's side of the link."""
