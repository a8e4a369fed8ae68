//! Behind nginx as most people set it up: a `proxy_pass`, and nothing else said about it.

use super::curl::Curl;
use super::{Publisher, hostile, stream_at};
use crate::tools::{program, within};
use std::net::SocketAddr;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// HTTP/1.0 towards the replica, and `proxy_buffering on`: nginx's defaults.
const PLAIN: &str = "";

#[tokio::test]
async fn a_plain_proxy_pass_delivers_the_same_bytes_as_they_come() {
    same_bytes_through(PLAIN).await;
}

#[tokio::test]
async fn a_proxy_pass_over_http_1_1_delivers_the_same_bytes_as_they_come() {
    same_bytes_through("proxy_http_version 1.1; proxy_set_header Connection '';").await;
}

#[tokio::test]
async fn a_quiet_stream_outlives_the_time_nginx_waits_for_bytes() {
    let publisher = Publisher::start(&["--heartbeat", "1"]).await;
    let nginx = Nginx::start(publisher.address(), "proxy_read_timeout 4s;").await;
    let socket = nginx.socket();
    let mut curl = Curl::start(&stream_at("localhost", "now"), &["--unix-socket", &socket]);
    // Heartbeats are at least 0.8 s apart, so these take longer than nginx waits.
    while curl.heartbeats() < 6 {
        curl.read_more("a heartbeat").await;
    }
    let event = publisher.publish_end().await;
    curl.read_through(&event.id).await;
}

async fn same_bytes_through(directives: &str) {
    // No heartbeat falls between two bytes that are compared.
    let publisher = Publisher::start(&["--heartbeat", "3600"]).await;
    let nginx = Nginx::start(publisher.address(), directives).await;
    let samples = hostile::samples();
    let (before, live) = samples.split_at(samples.len() / 2);
    let before = publisher.publish_all(before).await;

    let mut direct = Curl::start(&publisher.stream("start"), &[]);
    let socket = nginx.socket();
    let mut through = Curl::start(
        &stream_at("localhost", "start"),
        &["--unix-socket", &socket],
    );
    through.read_through(&before.last().unwrap().id).await;
    for sample in live {
        let event = publisher.publish(sample).await;
        // Before the next is published: nginx keeps nothing back.
        through.read_through(&event.id).await;
        direct.read_through(&event.id).await;
    }
    assert!(
        direct.body() == through.body(),
        "{} bytes direct, {} bytes through nginx, and not the same",
        direct.body().len(),
        through.body().len()
    );
}

/// nginx on a Unix socket. Dropping it ends it.
struct Nginx {
    folder: TempDir,
    _process: Child,
}

impl Nginx {
    async fn start(upstream: SocketAddr, directives: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        // One process, so that killing it leaves none behind.
        let config = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr notice;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}\
             server {{\nlisten unix:socket;\n\
             location / {{ proxy_pass http://{upstream}; {directives} }}\n}}\n}}\n"
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let mut process = Command::new(program("TIDINGS_TEST_NGINX"))
            .current_dir(folder.path())
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let listens = async {
            // It says how it waits for events once it listens.
            while !said.contains("event method") {
                let line = lines.next_line().await.unwrap();
                said += &line.unwrap_or_else(|| panic!("nginx ended: {said}"));
            }
        };
        within("nginx that listens", listens, String::new).await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            folder,
            _process: process,
        }
    }

    fn socket(&self) -> String {
        let path = self.folder.path().join("socket");
        path.into_os_string().into_string().unwrap()
    }
}
