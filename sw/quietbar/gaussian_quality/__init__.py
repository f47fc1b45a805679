"""How normal the Gaussian sources are: what is counted, what is judged, and the report of a long run."""
