//! Servers: what a client waits for, over a connection that stays.
//!
//! A server of the test's own listens on a port of 127.0.0.1. An iteration asks it [`ASKED`] times over one connection,
//! each time when the answer before is there and is the one that must come: ways there and back through the network
//! and the scheduler, and what the server does in between. After a run the server must have counted as many. It ends,
//! and its folder goes, with the test. A server that is not in the image gives no figure, as in `work`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Case, Test};
use crate::fixture::{Folder, Partner};
use crate::problem::{Outcome, Problem, ensure};
use crate::workload as data;

pub static TESTS: &[Test] = &[
    Test::new(
        "redis_set",
        5,
        "redis: 100 SETs of 100 bytes over a TCP connection, one after the other",
        redis_set,
    ),
    Test::new(
        "redis_get",
        5,
        "redis: 100 GETs of 100 bytes over a TCP connection, one after the other",
        redis_get,
    ),
    Test::new(
        "nginx_small",
        5,
        "nginx: 100 GETs of a file of 600 bytes over a TCP connection, one after the other",
        nginx_small,
    ),
];

/// Questions of an iteration.
const ASKED: usize = 100;

/// A server that has been started, and its port.
struct Server {
    // Ends before its folder goes.
    _process: Partner,
    _folder: Folder,
    port: u16,
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Problem {
    move |error| Problem::new(format!("{what}: {error}"))
}

/// A port that nobody has at the moment.
fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("a port"))?;
    let address = listener.local_addr().map_err(failed("a port"))?;
    Ok(address.port())
}

impl Server {
    /// Starts a program, which stays in the foreground; `arguments` may put files into its folder.
    fn start(
        program: &str,
        arguments: impl FnOnce(&Folder, u16) -> Outcome<Vec<String>>,
    ) -> Outcome<Self> {
        if !Path::new(program).exists() {
            return Err(Problem::absent(format!("there is no {program} here")));
        }
        let folder = Folder::new()?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(arguments(&folder, port)?);
        command.current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = Partner::start(|| Err(failed("exec")(command.exec())))?;
        Ok(Self {
            _process: process,
            _folder: folder,
            port,
        })
    }

    /// Connects as soon as the server listens.
    fn client(&self) -> Outcome<Client> {
        const TRIES: u32 = 3000;
        for _ in 0..TRIES {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                stream.set_nodelay(true).map_err(failed("TCP_NODELAY"))?;
                return Ok(Client {
                    stream,
                    answer: Vec::new(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Problem::new("the server does not listen"))
    }
}

/// A connection, and what came last.
struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    /// Asks, and takes an answer of that length.
    fn ask(&mut self, question: &[u8], len: usize) -> Outcome<&[u8]> {
        self.stream
            .write_all(question)
            .map_err(failed("a question"))?;
        self.answer.resize(len, 0);
        self.stream
            .read_exact(&mut self.answer)
            .map_err(failed("an answer"))?;
        Ok(&self.answer)
    }

    /// Asks, and takes an answer whose head says how long the rest is: the head's length, and all.
    fn ask_long(
        &mut self,
        question: &[u8],
        head_end: &str,
        rest: impl Fn(&str) -> Option<usize>,
    ) -> Outcome<(usize, String)> {
        self.stream
            .write_all(question)
            .map_err(failed("a question"))?;
        let mut text = String::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(end) = text.find(head_end) {
                let head = end + head_end.len();
                let rest = rest(&text[..head]).ok_or_else(|| Problem::new(text.clone()))?;
                if text.len() >= head + rest {
                    return Ok((head, text));
                }
            }
            let count = self.stream.read(&mut piece).map_err(failed("an answer"))?;
            ensure(count != 0, || "the server hung up".to_owned())?;
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }
}

/// A question, and what its answer must be.
struct Exchange {
    question: Vec<u8>,
    len: usize,
    start: Vec<u8>,
    end: Vec<u8>,
}

impl Exchange {
    fn with(&self, client: &mut Client) -> Outcome {
        let answer = client.ask(&self.question, self.len)?;
        let right = answer.starts_with(&self.start) && answer.ends_with(&self.end);
        ensure(right, || {
            format!("answered {:?}", String::from_utf8_lossy(answer))
        })
    }
}

/// A client with its server, and what it asks.
struct Asking {
    client: Client,
    _server: Server,
    exchanges: Vec<Exchange>,
    /// How many such questions the server has counted.
    count: fn(&mut Client) -> Outcome<u64>,
    /// Whether it counts being asked for that as well.
    counts_counting: bool,
    counted: u64,
}

impl Asking {
    fn boxed(mut self) -> Outcome<Box<dyn Case>> {
        self.counted = (self.count)(&mut self.client)?;
        Ok(Box::new(self))
    }
}

impl Case for Asking {
    fn run(&mut self, iterations: u64) -> Outcome {
        for _ in 0..iterations {
            for exchange in &self.exchanges {
                exchange.with(&mut self.client)?;
            }
        }
        Ok(())
    }

    fn verify(&mut self, iterations: u64) -> Outcome {
        let before = std::mem::replace(&mut self.counted, (self.count)(&mut self.client)?);
        let asked = iterations * ASKED as u64 + u64::from(self.counts_counting);
        ensure(self.counted - before == asked, || {
            format!("{} of {asked} were counted", self.counted - before)
        })
    }
}

/// The value of one of the keys.
fn value(key: usize) -> String {
    format!("{key:x<100}")
}

/// A command as redis reads it.
fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text.into_bytes()
}

fn redis_exchange(words: &[&str], answer: String) -> Exchange {
    Exchange {
        question: command(words),
        len: answer.len(),
        start: answer.into_bytes(),
        end: Vec::new(),
    }
}

/// `INFO commandstats`' number of calls.
fn redis_calls(client: &mut Client, name: &str) -> Outcome<u64> {
    let length = |head: &str| head.trim().strip_prefix('$')?.parse::<usize>().ok();
    let question = command(&["INFO", "commandstats"]);
    let (_, text) = client.ask_long(&question, "\r\n", |head| Some(length(head)? + 2))?;
    let prefix = format!("cmdstat_{name}:calls=");
    let calls = text.lines().find_map(|line| line.strip_prefix(&prefix));
    let calls = calls.and_then(|calls| calls.split(',').next()?.parse().ok());
    calls.ok_or_else(|| Problem::new(format!("no calls of {name} are counted")))
}

/// A server that has all keys.
fn redis(
    exchange: fn(usize) -> Exchange,
    count: fn(&mut Client) -> Outcome<u64>,
) -> Outcome<Box<dyn Case>> {
    let server = Server::start("/usr/bin/redis-server", |_, port| {
        let words = format!("--port {port} --bind 127.0.0.1 --loglevel warning --save");
        let words = words.split(' ').map(str::to_owned);
        Ok(words.chain([String::new()]).collect())
    })?;
    let mut client = server.client()?;
    for key in 0..ASKED {
        set(key).with(&mut client)?;
        get(key).with(&mut client)?;
    }
    let asking = Asking {
        client,
        _server: server,
        exchanges: (0..ASKED).map(exchange).collect(),
        count,
        counts_counting: false,
        counted: 0,
    };
    asking.boxed()
}

fn set(key: usize) -> Exchange {
    let words = ["SET", &format!("key:{key}"), &value(key)];
    redis_exchange(&words, "+OK\r\n".to_owned())
}

fn get(key: usize) -> Exchange {
    let words = ["GET", &format!("key:{key}")];
    redis_exchange(&words, format!("$100\r\n{}\r\n", value(key)))
}

fn redis_set() -> Outcome<Box<dyn Case>> {
    redis(set, |client| redis_calls(client, "set"))
}

fn redis_get() -> Outcome<Box<dyn Case>> {
    redis(get, |client| redis_calls(client, "get"))
}

/// One process that serves its folder, and leaves nothing elsewhere.
fn nginx_conf(port: u16) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {what};\n"))
        .concat();
    format!(
        "daemon off;
master_process off;
pid pid;
events {{ }}
http {{
{temporary}    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        root .;
        location = /status {{ stub_status; }}
    }}
}}
"
    )
}

/// A request for that path: the length of the head of the answer, and all of it.
fn http(client: &mut Client, path: &str) -> Outcome<(usize, String)> {
    let length = |head: &str| {
        let length = |line: &str| line.strip_prefix("Content-Length: ")?.parse().ok();
        head.lines().find_map(length)
    };
    client.ask_long(&http_question(path), "\r\n\r\n", length)
}

fn http_question(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// The third number of the third line of `stub_status`.
fn http_requests(client: &mut Client) -> Outcome<u64> {
    let (head, text) = http(client, "/status")?;
    let line = text[head..].lines().nth(2).unwrap_or_default();
    let requests = line.split_whitespace().nth(2);
    let requests = requests.and_then(|requests| requests.parse().ok());
    requests.ok_or_else(|| Problem::new(format!("no requests in {line:?}")))
}

fn nginx_small() -> Outcome<Box<dyn Case>> {
    let text = data::text(600);
    let server = Server::start("/usr/sbin/nginx", |folder, port| {
        folder.file("file", text.as_bytes())?;
        folder.file("conf", nginx_conf(port).as_bytes())?;
        let here = folder.path().to_string_lossy().into_owned() + "/";
        let conf = format!("{here}conf");
        Ok(["-p", &here, "-e", "errors", "-c", &conf]
            .map(str::to_owned)
            .to_vec())
    })?;
    let mut client = server.client()?;
    let (head, answer) = http(&mut client, "/file")?;
    ensure(answer[head..] == text, || format!("answered {answer:?}"))?;
    // The head has the date, which is always as long.
    let exchange = || Exchange {
        question: http_question("/file"),
        len: answer.len(),
        start: b"HTTP/1.1 200 OK\r\n".to_vec(),
        end: text.clone().into_bytes(),
    };
    let exchanges = (0..ASKED).map(|_| exchange()).collect();
    let asking = Asking {
        client,
        _server: server,
        exchanges,
        count: http_requests,
        counts_counting: true,
        counted: 0,
    };
    asking.boxed()
}
