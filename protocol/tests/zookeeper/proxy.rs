//! A proxy before ZooKeeper that loses one request or answer of a given kind. It knows just enough of the protocol to
//! find where messages begin, which request an answer belongs to, and the kind of a request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The message that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The answer to the next request of this kind: it is carried out, and the connection breaks instead of the answer.
    Answer(RequestKind),
    /// The next request of this kind: the connection breaks before the server sees it.
    Request(RequestKind),
}

/// Kinds of requests, by the protocol's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum RequestKind {
    Delete = 2,
    SetData = 5,
    Multi = 14,
    Create = 15,
}

/// The proxy; it ends with the test.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    /// Raised to break every connection.
    breaks: watch::Sender<u64>,
    /// While true nothing passes, in either direction, and nothing is closed.
    silent: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            fault: Arc::new(Mutex::new(Fault::None)),
            breaks: watch::Sender::new(0),
            silent: watch::Sender::new(false),
        };
        let fault = proxy.fault.clone();
        let (breaks, silent) = (proxy.breaks.subscribe(), proxy.silent.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let mut breaks = breaks.clone();
                breaks.mark_unchanged();
                let connection = carry(client, server, fault.clone(), silent.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        _ = breaks.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// Loses this message, once.
    pub(crate) fn lose(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Whether the message has been lost.
    pub(crate) fn has_lost_it(&self) -> bool {
        *self.fault.lock().unwrap() == Fault::None
    }

    /// Breaks every connection once.
    pub(crate) fn break_connections(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// Lets nothing pass from now on, as a dead network does.
    pub(crate) fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Lets everything pass again, what waits first.
    pub(crate) fn speak(&self) {
        self.silent.send_replace(false);
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    fault: Arc<Mutex<Fault>>,
    silent: watch::Receiver<bool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let doomed: Mutex<Option<i32>> = Mutex::new(None);
    let mut quiet = (silent.clone(), silent);
    let requests = async {
        // The first message of a connection opens the session and has neither number nor kind.
        pass(&mut from_client, &mut to_server, &mut quiet.0).await?;
        while let Some(message) = read(&mut from_client).await {
            let (number, kind) = (integer(&message, 0), integer(&message, 4));
            match due(&fault, kind) {
                Fault::Request(_) => return None,
                Fault::Answer(_) => *doomed.lock().unwrap() = Some(number),
                Fault::None => {}
            }
            write(&mut to_server, &message, &mut quiet.0).await?;
        }
        None::<()>
    };
    let answers = async {
        pass(&mut from_server, &mut to_client, &mut quiet.1).await?;
        while let Some(message) = read(&mut from_server).await {
            if *doomed.lock().unwrap() == Some(integer(&message, 0)) {
                return None;
            }
            write(&mut to_client, &message, &mut quiet.1).await?;
        }
        None::<()>
    };
    tokio::select! {
        _ = requests => {}
        _ = answers => {}
    }
}

/// The fault that is due for a request of this kind; it is lost once.
fn due(fault: &Mutex<Fault>, kind: i32) -> Fault {
    let mut fault = fault.lock().unwrap();
    match *fault {
        Fault::Request(request) | Fault::Answer(request) if request as i32 == kind => {
            std::mem::replace(&mut fault, Fault::None)
        }
        Fault::Request(_) | Fault::Answer(_) | Fault::None => Fault::None,
    }
}

async fn pass(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    silent: &mut watch::Receiver<bool>,
) -> Option<()> {
    let message = read(from).await?;
    write(to, &message, silent).await
}

async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = from.read_i32().await.ok()?;
    let mut message = vec![0; usize::try_from(length).ok()?];
    from.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn write(
    to: &mut OwnedWriteHalf,
    message: &[u8],
    silent: &mut watch::Receiver<bool>,
) -> Option<()> {
    silent.wait_for(|silent| !silent).await.ok()?;
    to.write_i32(i32::try_from(message.len()).unwrap())
        .await
        .ok()?;
    to.write_all(message).await.ok()
}

fn integer(message: &[u8], at: usize) -> i32 {
    message
        .get(at..at + 4)
        .map_or(0, |bytes| i32::from_be_bytes(bytes.try_into().unwrap()))
}
