//! The deterministic driver: a simulated disk with seeded latency, faults, torn writes and power cuts
