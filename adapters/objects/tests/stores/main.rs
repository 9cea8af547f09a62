//! The adapter on stores: a folder of this machine, and an S3 server that the test starts (`deploy/lib/s3-server`).

mod folder;
mod privacy;
mod s3;
