//! The daemon's end of the control socket: reads calls, passes them to the event loop, writes its answers back.
//!
//! ```text
//!   client ──line──► connection task ──(Request, answer slot)──► event loop
//!          ◄─lines── connection task ◄──────────Answer──────────┘
//! ```

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::warn;

use super::protocol::{Call, Numbered, Reply, Request};
use crate::exit::{Blame, Failure};

/// Longest call accepted, in bytes: a file of thousands of bonds fits, a runaway writer does not.
const CALL_BYTES_MAX: u64 = 16 << 20;

/// Events a slow listener may fall behind before it is cut off (it then reconnects and takes a new snapshot).
pub(crate) const EVENT_BACKLOG: usize = 4096;

/// What the event loop answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One reply.
    One(Reply),
    /// A snapshot, then what comes after it.
    Stream(Reply, broadcast::Receiver<Numbered>),
}

/// A request on its way to the event loop, with the place for its answer.
pub(crate) type Pending = (Request, oneshot::Sender<Answer>);

/// Opens the socket. Only root can connect.
pub(crate) fn listen(socket: &Path) -> Result<UnixListener, Failure> {
    let cannot = |e: std::io::Error| {
        Failure::new(
            Blame::Kernel,
            format!("cannot listen at {}: {e}", socket.display()),
        )
    };
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(cannot(e)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(cannot)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
    Ok(listener)
}

/// Accepts connections for ever.
pub(crate) async fn serve(listener: UnixListener, requests: mpsc::Sender<Pending>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = requests.clone();
                tokio::spawn(async move {
                    if let Err(e) = converse(stream, requests).await {
                        warn!("control connection ended early: {e}");
                    }
                });
            }
            Err(e) => {
                // Out of descriptors, most likely: others may go away.
                warn!("cannot accept a control connection: {e}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, requests: mpsc::Sender<Pending>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut read)
            .take(CALL_BYTES_MAX)
            .read_line(&mut line)
            .await?
            == 0
        {
            return Ok(());
        }
        let request = match Call::parse(&line) {
            Ok(call) => call.request,
            Err(failure) => {
                reply(&mut write, &Reply::Failed(failure)).await?;
                continue;
            }
        };
        let (slot, answer) = oneshot::channel();
        if requests.send((request, slot)).await.is_err() {
            return Ok(());
        }
        match answer.await {
            Ok(Answer::One(one)) => reply(&mut write, &one).await?,
            Ok(Answer::Stream(snapshot, mut events)) => {
                reply(&mut write, &snapshot).await?;
                let mut sink = [0_u8; 64];
                loop {
                    tokio::select! {
                        event = events.recv() => match event {
                            Ok(event) => reply(&mut write, &Reply::Event(event)).await?,
                            Err(_) => return Ok(()),
                        },
                        // A listener says nothing more; end of file is its good-bye.
                        read = read.read(&mut sink) => if read? == 0 { return Ok(()) },
                    }
                }
            }
            Err(_) => return Ok(()),
        }
    }
}

async fn reply(
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
    reply: &Reply,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    write.write_all(&line).await
}
