"""Commands of ours, one module each: parse, call, print."""
