"""What a finished report says about where it went wrong: order, growth, divergence, words. Pure functions of its table."""
