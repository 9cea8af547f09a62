//! ZooKeeper: the only importer of its client.
