//! Commands to a sidecar that runs on this machine: to wait for it, to have it drain or end. Hooks of a pod run them
//! within the sidecar's own image, which has no other program.

use anyhow::{Context as _, Result, bail};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time for one answer.
const TIME: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const MOST_BYTES: u64 = 16 * 1024;

/// Waits until the sidecar is ready: the hook `postStart` of one that is no native sidecar, so that the workload's
/// containers start after it.
#[derive(clap::Args, Clone, Debug)]
pub struct WaitArgs {
    /// Port of /healthz/ready.
    #[arg(long, env = "SLUICE_READINESS_PORT", value_name = "PORT", default_value_t = 15021)]
    pub port: u16,
    /// How long it is waited for.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = sluice_proxy::process::duration::parse)]
    pub timeout: Duration,
    /// How often it is asked.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = sluice_proxy::process::duration::parse)]
    pub period: Duration,
}

/// Where orders are taken.
#[derive(clap::Args, Clone, Debug)]
pub struct OrderArgs {
    /// Port of /drain and /quitquitquit.
    #[arg(long, env = "SLUICE_STATUS_PORT", value_name = "PORT", default_value_t = 15020)]
    pub port: u16,
}

/// Returns when it is ready.
///
/// # Errors
/// When it is not within the time; the text has its own reason.
pub fn wait(args: &WaitArgs) -> Result<ExitCode> {
    let started = Instant::now();
    loop {
        let reason = match send("GET", args.port, "/healthz/ready") {
            Ok((200, _)) => return Ok(ExitCode::SUCCESS),
            Ok((_, text)) => text,
            Err(error) => format!("{error:#}"),
        };
        if started.elapsed() + args.period > args.timeout {
            bail!("the sidecar is not ready after {:?}: {}", args.timeout, reason.trim());
        }
        std::thread::sleep(args.period);
    }
}

/// Announces the sidecar's end; returns at once.
///
/// # Errors
/// When it does not take the order.
pub fn drain(args: &OrderArgs) -> Result<ExitCode> {
    order(args, "/drain")
}

/// Has the sidecar end, as a signal would; returns at once.
///
/// # Errors
/// When it does not take the order.
pub fn quit(args: &OrderArgs) -> Result<ExitCode> {
    order(args, "/quitquitquit")
}

fn order(args: &OrderArgs, path: &str) -> Result<ExitCode> {
    match send("POST", args.port, path)? {
        (200, _) => Ok(ExitCode::SUCCESS),
        (status, text) => bail!("the sidecar answers {status}: {}", text.trim()),
    }
}

/// Status and body of an answer.
fn send(method: &str, port: u16, path: &str) -> Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIME).with_context(|| address.to_string())?;
    stream.set_read_timeout(Some(TIME))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status.context("an answer that is no HTTP")?, body))
}

#[cfg(test)]
mod tests {
    use super::{OrderArgs, WaitArgs, drain, send, wait};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    /// Answers in turn.
    fn sidecar(answers: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        port
    }

    const OK: &str = "HTTP/1.1 200 OK\r\n\r\nready\n";
    const NOT_YET: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: no identity yet\n";

    #[test]
    fn it_waits_until_the_sidecar_is_ready_and_says_why_it_is_not() {
        let period = Duration::from_millis(1);
        let timeout = Duration::from_secs(10);
        assert!(wait(&WaitArgs { port: sidecar(&[NOT_YET, NOT_YET, OK]), timeout, period }).is_ok());
        let timeout = Duration::ZERO;
        let error = wait(&WaitArgs { port: sidecar(&[NOT_YET]), timeout, period }).unwrap_err();
        assert!(error.to_string().ends_with("not ready: no identity yet"), "{error}");
    }

    #[test]
    fn an_order_that_is_not_taken_is_an_error() {
        assert!(drain(&OrderArgs { port: sidecar(&[OK]) }).is_ok());
        assert!(drain(&OrderArgs { port: sidecar(&[NOT_YET]) }).is_err());
        assert!(send("GET", sidecar(&["nonsense"]), "/").is_err());
    }
}
