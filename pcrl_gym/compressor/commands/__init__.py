"""The commands `pcrl-gym compress` and `pcrl-gym calibrate`.

`records` and its two kinds read what `compress` is given, and `output` writes what became of it.
"""
