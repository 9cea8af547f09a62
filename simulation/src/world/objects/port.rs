//! The port to the object store of one process.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use stitch_common::clock::Clock;
use stitch_common::ports::{ObjectEntry, ObjectError, ObjectName, ObjectStore, Put};
use stitch_testkit::wait::{Either, OneShot, either};

use super::{Write, WriteFate};
use crate::world::Handle;

/// How long a client waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(300);
/// The longest time after which a write arrives that its sender has given up.
const LATE: u64 = 1_500_000;

impl Handle {
    /// Waits as long as a request to the store takes.
    async fn ask_storage(&self) -> Result<(), ObjectError> {
        let world = &self.world;
        let faults = world.storage.faults.get();
        let delay = world.net() + world.rng.below(faults.slowness + 1);
        world.executor.until(world.now() + delay).await;
        if world.rng.percent(faults.unavailable) {
            return Err(ObjectError::Unavailable("no answer".to_owned()));
        }
        Ok(())
    }

    /// Sends a write. It arrives whatever becomes of this process.
    async fn send_write(&self, write: Write) -> Result<Put, ObjectError> {
        let world = &self.world;
        let faults = world.storage.faults.get();
        if faults.refuses_writes {
            world.hop().await;
            return Err(ObjectError::Refused("the store is read-only".to_owned()));
        }
        let (name, fate) = (write.name.clone(), faults.fate(&world.rng));
        self.world.write_sent(self.actor(), &name);
        if world.rng.percent(faults.unavailable) {
            world.hop().await;
            return Err(ObjectError::Unavailable("no answer".to_owned()));
        }
        let delay = world.net() + world.rng.below(faults.slowness + 1);
        let answer = Rc::new(OneShot::default());
        let (store, answered) = (Rc::clone(world), Rc::clone(&answer));
        world.spawn(async move {
            if fate == WriteFate::Lost {
                return;
            }
            let late = if fate == WriteFate::Late {
                store.rng.below(LATE)
            } else {
                0
            };
            store.executor.until(store.now() + delay + late).await;
            let put = store.write(write);
            if fate == WriteFate::Answered {
                store.hop().await;
                answered.send(put);
            }
        });
        let clock = self.clock();
        match either(answer.recv(), clock.sleep(REQUEST_TIMEOUT)).await {
            Either::Left(put) => Ok(put),
            Either::Right(()) => {
                let cause = "no answer".to_owned();
                Err(ObjectError::Ambiguous { name, cause })
            }
        }
    }
}

impl ObjectStore for Handle {
    fn place(&self) -> &'static str {
        "simulated://"
    }

    async fn put_if_absent(&self, name: &ObjectName, content: Bytes) -> Result<Put, ObjectError> {
        let write = Write {
            name: name.clone(),
            content,
            replaces: false,
        };
        self.send_write(write).await
    }

    async fn put_file(&self, name: &ObjectName, file: &Path) -> Result<(), ObjectError> {
        let content = std::fs::read(file);
        let content = content.map_err(|error| ObjectError::Refused(error.to_string()))?;
        let write = Write {
            name: name.clone(),
            content: content.into(),
            replaces: true,
        };
        self.send_write(write).await.map(|_| ())
    }

    async fn get(&self, name: &ObjectName) -> Result<Vec<u8>, ObjectError> {
        self.ask_storage().await?;
        let content = self.world.storage.objects.get(name);
        self.world.hop().await;
        content
            .map(Vec::from)
            .ok_or_else(|| ObjectError::NotFound(name.clone()))
    }

    async fn get_range(
        &self,
        name: &ObjectName,
        bytes: Range<u64>,
    ) -> Result<Vec<u8>, ObjectError> {
        let content = ObjectStore::get(self, name).await?;
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let part = content.get(at(bytes.start)..at(bytes.end));
        part.map(<[u8]>::to_vec)
            .ok_or_else(|| ObjectError::Refused(format!("{name} is shorter")))
    }

    async fn size(&self, name: &ObjectName) -> Result<Option<u64>, ObjectError> {
        self.ask_storage().await?;
        let content = self.world.storage.objects.get(name);
        self.world.hop().await;
        Ok(content.map(|content| content.len() as u64))
    }

    async fn list(
        &self,
        folder: &ObjectName,
        after: Option<&ObjectName>,
    ) -> Result<Vec<ObjectEntry>, ObjectError> {
        self.ask_storage().await?;
        let listed = self.world.list(folder, after);
        self.world.hop().await;
        Ok(listed)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.ask_storage().await?;
        self.world.storage.objects.delete(name);
        self.world.object_deleted(name);
        self.world.hop().await;
        Ok(())
    }
}
