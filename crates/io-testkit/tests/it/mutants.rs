//! Drivers that are broken on purpose: the suite has to catch each.
