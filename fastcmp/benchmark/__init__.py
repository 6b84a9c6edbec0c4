"""How fast fastcmp is on this machine, beside what the machine could do at best."""
