//! The portable driver: a bounded pool of threads and the reference meaning of every operation
