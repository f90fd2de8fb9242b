//! A client's end of the control socket. Blocking: a command asks one thing and waits.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::protocol::{Call, PROTOCOL_VERSION, Reply, Request};
use crate::exit::{Blame, Failure};

/// A connection to the daemon of this network namespace.
pub(crate) struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects. A missing daemon and a missing permission are told apart.
    pub(crate) fn connect(socket: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(
                Blame::Daemon,
                format!(
                    "no oxbond daemon serves this network namespace ({} does not answer); start it with \
                     'systemctl start oxbond' or 'oxbond daemon'",
                    socket.display()
                ),
            ),
            ErrorKind::PermissionDenied => Failure::new(
                Blame::Permission,
                format!("not allowed to talk to the daemon at {}; run this as root", socket.display()),
            ),
            _ => Failure::new(Blame::Daemon, format!("cannot reach the daemon at {}: {e}", socket.display())),
        })?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// Sends a request. Its replies are read with [`Client::next`].
    pub(crate) fn send(&mut self, request: Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(&Call {
            version: PROTOCOL_VERSION,
            request,
        })
        .map_err(|e| Failure::new(Blame::Bug, format!("cannot encode the request: {e}")))?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).map_err(lost)
    }

    /// The next reply; `None` when the daemon has hung up.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, Failure> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).map_err(lost)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(|e| {
            Failure::new(Blame::Daemon, format!("the daemon's answer is not understood ({e}); are program and daemon of one version?"))
        })
    }

    /// Sends a request and waits for its one reply.
    pub(crate) fn call(&mut self, request: Request) -> Result<Reply, Failure> {
        self.send(request)?;
        match self.next()? {
            Some(Reply::Failed(failure)) => Err(failure),
            Some(reply) => Ok(reply),
            None => Err(Failure::new(
                Blame::Daemon,
                "the daemon went away without an answer; look at its log",
            )),
        }
    }
}

fn lost(e: std::io::Error) -> Failure {
    Failure::new(
        Blame::Daemon,
        format!("lost the daemon while it was asked: {e}"),
    )
}
