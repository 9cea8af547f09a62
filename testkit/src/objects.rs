//! An object store's data, and a store over it whose requests fail as their user decides.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use stitch_common::ports::{ObjectEntry, ObjectError, ObjectName, ObjectStore, Put};

/// The objects of a store, and the writes that have not arrived yet.
#[derive(Debug, Default)]
pub struct Objects {
    objects: RefCell<BTreeMap<ObjectName, Bytes>>,
    /// The objects that lists do not show yet.
    unlisted: RefCell<Vec<ObjectName>>,
    delayed: RefCell<Vec<(ObjectName, Bytes)>>,
}

impl Objects {
    pub fn get(&self, name: &ObjectName) -> Option<Bytes> {
        self.objects.borrow().get(name).cloned()
    }

    /// Writes an object whether there is one or not.
    pub fn set(&self, name: ObjectName, content: impl Into<Bytes>) {
        self.objects.borrow_mut().insert(name, content.into());
    }

    pub fn delete(&self, name: &ObjectName) {
        self.objects.borrow_mut().remove(name);
    }

    pub fn put_if_absent(&self, name: &ObjectName, content: Bytes) -> Put {
        let mut objects = self.objects.borrow_mut();
        if objects.contains_key(name) {
            return Put::Exists;
        }
        objects.insert(name.clone(), content);
        Put::Created
    }

    /// A write that arrives with [`Objects::arrive`].
    pub fn delay(&self, name: ObjectName, content: Bytes) {
        self.delayed.borrow_mut().push((name, content));
    }

    /// Lets the delayed writes arrive.
    pub fn arrive(&self) {
        for (name, content) in self.delayed.take() {
            self.put_if_absent(&name, content);
        }
    }

    pub fn names(&self) -> Vec<ObjectName> {
        self.objects.borrow().keys().cloned().collect()
    }

    /// The objects below `folder` and behind `after`, those left out that a list does not show yet.
    pub fn list(&self, folder: &ObjectName, after: Option<&ObjectName>) -> Vec<ObjectEntry> {
        let folder = format!("{}/", folder.0);
        let unlisted = self.unlisted.borrow();
        let objects = self.objects.borrow();
        let listed = objects.iter().filter(|(name, _)| {
            name.0.starts_with(&folder)
                && after.is_none_or(|after| *name > after)
                && !unlisted.contains(name)
        });
        let entry = |(name, content): (&ObjectName, &Bytes)| ObjectEntry {
            name: name.clone(),
            size: content.len() as u64,
        };
        listed.map(entry).collect()
    }
}

/// A request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Put,
    PutFile,
    Get,
    Size,
    List,
    Delete,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It is answered.
    #[default]
    None,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is lost; its sender cannot know.
    RequestLost,
    /// It arrives later, after its sender has given up.
    Delayed,
    /// It is done, and lists do not show it until [`MemoryStore::show`].
    Unlisted,
    /// It is not done, and the sender knows.
    Unavailable,
    /// It is refused.
    Refused,
}

type Decide = dyn FnMut(Request, &ObjectName) -> Fault;

/// A store over shared [`Objects`]. Clones share everything.
#[derive(Clone)]
pub struct MemoryStore {
    objects: Rc<Objects>,
    decide: Rc<RefCell<Box<Decide>>>,
    requests: Rc<Cell<u64>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Rc::default(), |_, _| Fault::None)
    }
}

impl MemoryStore {
    /// A store of these objects; `decide` says what becomes of each request.
    pub fn new(
        objects: Rc<Objects>,
        decide: impl FnMut(Request, &ObjectName) -> Fault + 'static,
    ) -> Self {
        Self {
            objects,
            decide: Rc::new(RefCell::new(Box::new(decide))),
            requests: Rc::default(),
        }
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// How many requests were made.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Lets lists show everything.
    pub fn show(&self) {
        self.objects.unlisted.take();
    }

    /// Sends a request: others of the same thread may be made before it arrives.
    async fn ask(&self, request: Request, name: &ObjectName) -> Fault {
        self.requests.set(self.requests.get() + 1);
        pass().await;
        (self.decide.borrow_mut())(request, name)
    }
}

/// Lets other tasks of the thread go on.
async fn pass() {
    let mut passed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The error of a request that only reads, or whose sender knows that it was not done.
fn done(fault: Fault) -> Result<(), ObjectError> {
    match fault {
        Fault::None | Fault::Unlisted => Ok(()),
        Fault::Refused => Err(ObjectError::Refused("the folder is read-only".to_owned())),
        Fault::AnswerLost | Fault::RequestLost | Fault::Delayed | Fault::Unavailable => {
            Err(ObjectError::Unavailable("no answer".to_owned()))
        }
    }
}

fn ambiguous(name: &ObjectName) -> ObjectError {
    ObjectError::Ambiguous {
        name: name.clone(),
        cause: "the connection broke".to_owned(),
    }
}

impl ObjectStore for MemoryStore {
    fn place(&self) -> &'static str {
        "memory://"
    }

    async fn put_if_absent(&self, name: &ObjectName, content: Bytes) -> Result<Put, ObjectError> {
        let fault = self.ask(Request::Put, name).await;
        let result = match fault {
            Fault::None => Ok(self.objects.put_if_absent(name, content)),
            Fault::Unlisted => {
                self.objects.unlisted.borrow_mut().push(name.clone());
                Ok(self.objects.put_if_absent(name, content))
            }
            Fault::AnswerLost => {
                self.objects.put_if_absent(name, content);
                Err(ambiguous(name))
            }
            Fault::RequestLost => Err(ambiguous(name)),
            Fault::Delayed => {
                self.objects.delay(name.clone(), content);
                Err(ambiguous(name))
            }
            Fault::Unavailable | Fault::Refused => done(fault).map(|()| Put::Exists),
        };
        pass().await;
        result
    }

    async fn put_file(&self, name: &ObjectName, file: &Path) -> Result<(), ObjectError> {
        let fault = self.ask(Request::PutFile, name).await;
        let content = std::fs::read(file);
        let content = content.map_err(|error| ObjectError::Refused(error.to_string()))?;
        match fault {
            Fault::AnswerLost => {
                self.objects.set(name.clone(), content);
                return Err(ambiguous(name));
            }
            Fault::RequestLost | Fault::Delayed => return Err(ambiguous(name)),
            Fault::None | Fault::Unlisted | Fault::Unavailable | Fault::Refused => done(fault)?,
        }
        self.objects.set(name.clone(), content);
        pass().await;
        Ok(())
    }

    async fn get(&self, name: &ObjectName) -> Result<Vec<u8>, ObjectError> {
        done(self.ask(Request::Get, name).await)?;
        let content = self.objects.get(name);
        pass().await;
        content
            .map(Vec::from)
            .ok_or_else(|| ObjectError::NotFound(name.clone()))
    }

    async fn get_range(
        &self,
        name: &ObjectName,
        bytes: Range<u64>,
    ) -> Result<Vec<u8>, ObjectError> {
        let content = self.get(name).await?;
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        content
            .get(at(bytes.start)..at(bytes.end))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| ObjectError::Refused(format!("{name} is shorter")))
    }

    async fn size(&self, name: &ObjectName) -> Result<Option<u64>, ObjectError> {
        done(self.ask(Request::Size, name).await)?;
        let size = self.objects.get(name).map(|content| content.len() as u64);
        pass().await;
        Ok(size)
    }

    async fn list(
        &self,
        folder: &ObjectName,
        after: Option<&ObjectName>,
    ) -> Result<Vec<ObjectEntry>, ObjectError> {
        done(self.ask(Request::List, folder).await)?;
        let listed = self.objects.list(folder, after);
        pass().await;
        Ok(listed)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        done(self.ask(Request::Delete, name).await)?;
        self.objects.delete(name);
        pass().await;
        Ok(())
    }
}
