"""The commands `pcrl-gym compress` and `pcrl-gym calibrate`.

`records` and its CSV and JSON variants read the input, and `output` formats the results.
"""
