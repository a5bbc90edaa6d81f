//! A real nginx, whose configuration is `deploy/nginx.conf` with other addresses, and with a mistake if one is wanted.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::support::wait_until;

const SHIPPED: &str = include_str!("../../deploy/nginx.conf");

/// Something to write into the shipped file: the text to replace, and what takes its place.
pub(crate) type Edit<'text> = (&'text str, &'text str);

/// A running nginx. Dropping it kills it.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: SocketAddr,
    home: tempfile::TempDir,
}

/// The shipped server block, with plain HTTP unless it is to keep its TLS.
fn server_block(upstream: SocketAddr, listen: SocketAddr, home: &Path, keeps_tls: bool) -> String {
    let (certificate, key) = (home.join("certificate.pem"), home.join("key.pem"));
    let tls = if keeps_tls { " ssl http2" } else { "" };
    let mut block = SHIPPED.to_owned();
    for (from, to) in [
        ("server 127.0.0.1:8080;", format!("server {upstream};")),
        ("listen 443 ssl http2;", format!("listen {listen}{tls};")),
        ("listen [::]:443 ssl http2;", String::new()),
        ("/etc/ssl/certs/uploads.example.com.pem", certificate.display().to_string()),
        ("/etc/ssl/private/uploads.example.com.key", key.display().to_string()),
    ] {
        block = replaced(&block, from, &to);
    }
    if !keeps_tls {
        block = block.lines().filter(|line| !line.trim().starts_with("ssl_")).collect::<Vec<_>>().join("\n");
    }
    block
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "deploy/nginx.conf has no {from:?} any more");
    text.replace(from, to)
}

impl Nginx {
    /// The shipped file, with these edits.
    pub(crate) fn start(upstream: SocketAddr, edits: &[Edit<'_>]) -> Nginx {
        Nginx::start_with(upstream, edits, false)
    }

    /// The same with its TLS, by a certificate for 127.0.0.1 that it signed itself.
    pub(crate) fn start_tls(upstream: SocketAddr, edits: &[Edit<'_>]) -> Nginx {
        Nginx::start_with(upstream, edits, true)
    }

    fn start_with(upstream: SocketAddr, edits: &[Edit<'_>], keeps_tls: bool) -> Nginx {
        let home = tempfile::tempdir().expect("a temporary directory");
        if keeps_tls {
            sign(home.path());
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        let mut block = server_block(upstream, address, home.path(), keeps_tls);
        for (from, to) in edits {
            block = replaced(&block, from, to);
        }
        let at = home.path().display();
        // As Debian's own file has it where it matters: gzip is on.
        let all = format!(
            "daemon off; master_process off; pid {at}/pid; events {{}}\nhttp {{ gzip on; access_log off;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi; proxy_cache_path {at}/cache keys_zone=cache:1m;\n\
             limit_req_zone $server_name zone=slow:1m rate=1r/m;\n{block}\n}}\n"
        );
        let file = home.path().join("nginx.conf");
        fs::write(&file, all).expect("a configuration");
        drop(free);
        let child = run(&file);
        let mut nginx = Nginx { child, address, home };
        wait_until("nginx listens", || {
            if let Some(status) = nginx.child.try_wait().expect("its state") {
                let wrote = fs::read_to_string(file.with_extension("log")).unwrap_or_default();
                panic!("nginx ended with {status}:\n{wrote}");
            }
            TcpStream::connect(address).is_ok()
        });
        nginx
    }

    /// The authority that its certificate is signed by.
    pub(crate) fn certificate(&self) -> String {
        self.home.path().join("certificate.pem").display().to_string()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(file: &Path) -> Child {
    let log = fs::File::create(file.with_extension("log")).expect("a log");
    // Debian's lies where only root's PATH leads.
    let program = ["nginx", "/usr/sbin/nginx"]
        .into_iter()
        .find(|program| Command::new(program).arg("-v").stderr(Stdio::null()).stdout(Stdio::null()).status().is_ok());
    let program = program.expect("nginx is missing: apt-get install nginx-light");
    let mut command = Command::new(program);
    command.arg("-c").arg(file).arg("-e").arg("stderr").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("nginx starts")
}

fn sign(home: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=wharf", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "certificate.pem"]);
    let output = command.current_dir(home).output().expect("openssl is missing: apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
