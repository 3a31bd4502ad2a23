//! The facade: what storage layers import
