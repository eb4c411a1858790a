"""A page on which people try prompt compression: `pcrl-gym demo`, or an app of their own."""
