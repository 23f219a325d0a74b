//! Every vector of `tests/vectors`, at every split.
