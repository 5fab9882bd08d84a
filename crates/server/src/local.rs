//! The socket in the data folder: how commands of this machine reach the gateway that works on
//! it, whatever address and whatever certificate it has. It serves the API and wants the same
//! keys. No other user can connect, and no network reaches it.

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::fs::{Permissions, metadata, remove_file, rename, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Name of the socket in the data folder.
pub const SOCKET_FILE: &str = "portunus.sock";

/// The listening end. The file goes when it is dropped; one that a killed process has left is
/// replaced by the next.
#[derive(Debug)]
pub struct Local {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Local {
    /// Takes the socket's name, also from a gateway that still has it: the newest is the one to
    /// speak to.
    ///
    /// # Errors
    /// When the system refuses, for instance a path of more than 107 bytes.
    pub fn bind(data_dir: &Path) -> std::io::Result<Self> {
        let path = data_dir.join(SOCKET_FILE);
        // Made beside and moved: whoever looks finds a private socket that somebody listens on.
        let beside = data_dir.join(format!("{SOCKET_FILE}.{}", std::process::id()));
        let _usually_none = remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        set_permissions(&beside, Permissions::from_mode(0o600))?;
        let inode = metadata(&beside)?.ino();
        rename(&beside, &path)?;
        Ok(Self {
            listener,
            path,
            inode,
        })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let own = metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if own {
            let _may_be_gone = remove_file(&self.path);
        }
    }
}

/// An answer, and what reads it off the socket.
pub struct Answer {
    /// Status, headers, body.
    pub response: http::Response<Incoming>,
    _reader: JoinSet<()>,
}

impl Answer {
    /// The body, of at most `most` bytes.
    ///
    /// # Errors
    /// When it is longer, or the gateway goes away.
    pub async fn whole(self, most: usize) -> Result<Bytes> {
        // The reader has to live until the last byte.
        let Self { response, _reader } = self;
        whole(response.into_body(), most).await
    }
}

/// A whole body of at most `most` bytes.
///
/// # Errors
/// When it is longer or fails.
pub async fn whole<B>(body: B, most: usize) -> Result<Bytes>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let collected = Limited::new(body, most).collect().await;
    collected
        .map(Collected::to_bytes)
        .map_err(|error| anyhow!(error))
}

/// Connects to the gateway that works on a data folder; `None` when there is none.
///
/// # Errors
/// When there is a socket that this user cannot use.
pub async fn connect(data_dir: &Path) -> Result<Option<UnixStream>> {
    let path = data_dir.join(SOCKET_FILE);
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error).with_context(|| format!("cannot connect to {}", path.display())),
        },
    }
}

/// One request over a fresh connection.
///
/// # Errors
/// When the gateway goes away.
pub async fn send<B>(stream: UnixStream, request: http::Request<B>) -> Result<Answer>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the gateway");
        }
    });
    Ok(Answer {
        response: sender.send_request(request).await?,
        _reader: reader,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_has_the_name_and_a_dead_ones_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, path) = (folder.path(), folder.path().join(SOCKET_FILE));
        assert!(connect(dir).await.unwrap().is_none());
        let first = Local::bind(dir).unwrap();
        assert_eq!(metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = Local::bind(dir).unwrap();
        drop(first);
        assert!(connect(dir).await.unwrap().is_some());
        drop(second);
        assert!(!path.exists());
        // As a killed process leaves it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(connect(dir).await.unwrap().is_none());
        let third = Local::bind(dir).unwrap();
        assert!(connect(dir).await.unwrap().is_some());
        drop(third);
    }

    #[tokio::test]
    async fn a_long_answer_is_read_to_its_end() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        const LENGTH: usize = 4 << 20;
        let folder = tempfile::tempdir().unwrap();
        let local = Local::bind(folder.path()).unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (mut stream, _) = local.listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _some = stream.read(&mut head).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; LENGTH]).await.unwrap();
        });
        let stream = connect(folder.path()).await.unwrap().unwrap();
        let request = http::Request::get("/").body(http_body_util::Empty::<Bytes>::new());
        let answer = send(stream, request.unwrap()).await.unwrap();
        assert_eq!(answer.whole(LENGTH).await.unwrap().len(), LENGTH);
        server.join_next().await.unwrap().unwrap();
    }
}
