//! Names of nodes, topics and services: validation, expansion, remapping.
