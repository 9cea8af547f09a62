//! Archive and totals under faults, by the real programs on real servers: programs that are killed, stores that are away,
//! refuse, overwrite or are full, archives and totals that are not what they must be.

mod chains;
mod disks;
mod kills;
mod scene;
mod origins;
mod stores;
mod topics;
mod verification;
