//! Patient state → explained risk. The scoring half is pure: no I/O, no clock, no randomness.
