//! The binary as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) fn portunus(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
    command.env_clear().env("HOME", folder).current_dir(folder);
    command
}

/// A gateway on a free port; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) lines: Vec<String>,
    pub(crate) rest: BufReader<std::process::ChildStderr>,
    pub(crate) address: String,
}

impl Running {
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        let mut command = portunus(folder);
        command
            .args(["--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let rest = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self {
            child,
            lines: Vec::new(),
            rest,
            address: String::new(),
        };
        while running.address.is_empty() {
            let mut line = String::new();
            assert!(
                running.rest.read_line(&mut line).unwrap() > 0,
                "it ended: {:?}",
                running.lines
            );
            match line
                .split_once("ready on http")
                .and_then(|(_, after)| after.split_once("://"))
            {
                Some((_, after)) => running.address = after.split(' ').next().unwrap().to_owned(),
                None => running.lines.push(line),
            }
        }
        running
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    pub(crate) fn ask(&self, head: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

impl Running {
    /// Sends a request to `@slow/m`; nothing is read yet.
    pub(crate) fn ask_slow(&self, key: &str, stream: bool) -> TcpStream {
        let body = format!(r#"{{"model":"@slow/m","input":"hi","stream":{stream}}}"#);
        let head = format!(
            "POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             authorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = self.connect();
        connection.write_all(head.as_bytes()).unwrap();
        connection
    }

    /// The API key that the first start printed.
    pub(crate) fn first_key(&self) -> String {
        let said = self.lines.concat();
        said.split_whitespace()
            .find(|word| word.starts_with("pk-"))
            .unwrap()
            .to_owned()
    }
}
