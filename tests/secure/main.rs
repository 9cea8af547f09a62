//! Real processes on servers that demand TLS with client certificates, and identities (`deploy/local up --secure`; its
//! folder of certificates in `STITCH_TEST_SECURE`).

mod access;
mod canary;
mod denied;
mod eavesdropping;
mod renewal;
mod rights;
mod support;
