//! A served host, and a client that speaks just enough HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Shell, module};

/// The binary as it serves; it is killed when this is dropped.
pub(super) struct Server {
    pub(super) shell: Shell,
    arguments: Vec<String>,
    child: Child,
    said: BufReader<std::process::ChildStderr>,
    /// What it said before it served.
    heard: String,
    client: Client,
}

/// Calls a host at an address, each call on a connection of its own.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: String,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(it, _)| it == name);
        header.map(|(_, value)| value.as_str())
    }
}

impl Server {
    /// Serves the order workflow and the scripted one in a new folder.
    pub(super) fn start(arguments: &[&str]) -> Self {
        let modules = ["order-processing", "scripted"].map(module);
        let modules = modules.iter().map(|path| path.to_str().unwrap());
        let arguments = modules.chain(arguments.iter().copied());
        Self::serve(Shell::new(), arguments.map(str::to_owned).collect())
    }

    /// Serves what a configuration file says, beside these arguments.
    pub(super) fn configured(shell: Shell, config: &str, arguments: &[&str]) -> Self {
        shell.write("wfhost.toml", config);
        let arguments = [&["--config", "wfhost.toml"], arguments].concat();
        Self::serve(shell, arguments.into_iter().map(str::to_owned).collect())
    }

    /// Waits until it says a line with these words.
    pub(super) fn hear(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            let read = self.said.read_line(&mut line).unwrap();
            assert!(read > 0, "it ended without saying {words}");
        }
    }

    pub(super) fn serve(shell: Shell, arguments: Vec<String>) -> Self {
        let mut command = shell.command(&["serve", "--listen", "127.0.0.1:0"]);
        let command = command.args(&arguments).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut heard = String::new();
        let address = loop {
            let mut line = String::new();
            let read = said.read_line(&mut line).unwrap();
            heard.push_str(&line);
            assert!(read > 0, "it said {heard}");
            // Lines of its log may come before.
            let served = line.split_once(" on http");
            let served = served.and_then(|(_, rest)| rest.split_once("://"));
            if let Some((address, _)) = served.and_then(|(_, rest)| rest.split_once(';')) {
                break address.to_owned();
            }
        };
        Self {
            shell,
            arguments,
            child,
            said,
            heard,
            client: Client { address },
        }
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.client.address
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.client.get(path)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.client.call("POST", path, &[], &body.to_string())
    }

    /// Asks it to stop, as an operator does; its exit status, and what it said.
    pub(super) fn stop(self) -> (Option<i32>, String) {
        self.terminate();
        self.ended()
    }

    /// Waits for its end; its exit status, and what it said.
    pub(super) fn ended(mut self) -> (Option<i32>, String) {
        let mut said = std::mem::take(&mut self.heard);
        self.said.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, without listening; its exit status.
    pub(super) fn ends(&mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                return ended.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.unwrap().success());
    }

    /// Kills it, and serves the same file again.
    pub(super) fn again(mut self) -> Self {
        self.child.kill().unwrap();
        self.served_again()
    }

    /// Kills it; its folder stays.
    pub(super) fn kill(mut self) -> Shell {
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits for its end; its folder stays.
    pub(super) fn end(mut self) -> Shell {
        self.child.wait().unwrap();
        std::mem::replace(&mut self.shell, Shell::new())
    }

    /// Waits for its end, and serves the same file again.
    pub(super) fn served_again(self) -> Self {
        let arguments = self.arguments.clone();
        Self::serve(self.end(), arguments)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    /// Of a host that is served by this process.
    pub(super) fn of(address: std::net::SocketAddr) -> Self {
        let address = address.to_string();
        Self { address }
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "")
    }

    #[track_caller]
    pub(super) fn call(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        self.try_call(method, path, headers, body)
            .expect("it answers")
    }

    /// Sends bytes.
    #[track_caller]
    pub(super) fn send(&self, path: &str, body: &[u8]) -> Answer {
        self.exchange("POST", path, &[], body).expect("it answers")
    }

    /// `None` if no whole answer came.
    pub(super) fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Option<Answer> {
        self.exchange(method, path, headers, body.as_bytes())
    }

    fn exchange(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Option<Answer> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let headers: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Answer {
            status,
            headers: headers.collect(),
            body: body.to_owned(),
        })
    }
}
