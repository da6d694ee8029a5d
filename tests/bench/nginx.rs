//! nginx before the emulator: it sends files from the disk, by sendfile, and passes on everything else.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::certificate::Certificate;
use crate::place::Place;
use crate::process::Running;

/// Where Google's names lead for those who cannot be told another address, at port 443.
pub(crate) const GOOGLE: Ipv4Addr = Ipv4Addr::new(127, 44, 3, 1);

/// A running nginx, one process.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) running: Running,
    pub(crate) port: u16,
    pub(crate) tls_port: Option<u16>,
}

impl Nginx {
    /// `media` is the directory with the files, which have their ids as names.
    pub(crate) fn start(
        program: &Path,
        place: &Place,
        emulator: u16,
        certificate: Option<&Certificate>,
        with_google: bool,
    ) -> anyhow::Result<Self> {
        let (port, tls_port) = (free_port()?, certificate.map(|_| free_port()).transpose()?);
        let config = place.join("nginx.conf");
        let google = if with_google { Some((GOOGLE, 443)) } else { None };
        let tls: Vec<(Ipv4Addr, u16)> =
            tls_port.map(|port| (Ipv4Addr::LOCALHOST, port)).into_iter().chain(google).collect();
        fs::write(&config, configuration(place.path(), emulator, port, certificate, &tls)?)?;
        let log = place.join("nginx.log");
        let mut running =
            Running::start(Command::new(program).arg("-p").arg(place.path()).arg("-c").arg(&config), &log)?;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            running.check(&log)?;
            if began.elapsed() > Duration::from_secs(10) {
                bail!("nginx does not answer");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { running, port, tls_port })
    }
}

fn configuration(
    place: &Path,
    emulator: u16,
    port: u16,
    certificate: Option<&Certificate>,
    tls: &[(Ipv4Addr, u16)],
) -> Result<String, std::fmt::Error> {
    let place = place.display();
    let mut text = format!(
        "daemon off;\nmaster_process off;\npid {place}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         access_log off;\nsendfile on;\ntcp_nopush on;\nkeepalive_requests 1000000;\ndefault_type video/mp4;\n\
         client_body_temp_path {place}/nginx-body;\nproxy_temp_path {place}/nginx-proxy;\n\
         fastcgi_temp_path {place}/nginx-fastcgi;\nuwsgi_temp_path {place}/nginx-uwsgi;\n\
         scgi_temp_path {place}/nginx-scgi;\n\
         upstream emulator {{ server 127.0.0.1:{emulator}; keepalive 32; }}\n\
         server {{\nlisten 127.0.0.1:{port};\n"
    );
    if let Some(certificate) = certificate {
        for (address, port) in tls {
            writeln!(text, "listen {address}:{port} ssl;")?;
        }
        writeln!(text, "ssl_certificate {};", certificate.chain.display())?;
        writeln!(text, "ssl_certificate_key {};\nssl_protocols TLSv1.3;", certificate.key.display())?;
    }
    write!(
        text,
        "proxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
         location ~ ^/drive/v3/files/[^/]+$ {{\n\
         if ($arg_alt = media) {{ rewrite ^/drive/v3/files/(.*)$ /media/$1 last; }}\n\
         proxy_pass http://emulator;\n}}\n\
         location /media/ {{ internal; root {place}; }}\n\
         location / {{ proxy_pass http://emulator; }}\n}}\n}}\n"
    )?;
    Ok(text)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
