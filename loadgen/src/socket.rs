//! A bare Centrifuge JSON client over WebSocket: connects, subscribes, reads.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// A connected client.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects and sends `connect`, and `subscribe` if a channel is given; returns when both are answered.
    /// `n` spreads clients over loopback addresses, so that ports do not run out.
    pub async fn open(address: SocketAddr, n: usize, token: &str, channel: Option<&str>) -> Result<Self> {
        let stream = connect_from(address, n).await?;
        let config = WebSocketConfig::default().read_buffer_size(512);
        let url = format!("ws://{address}/connection/websocket");
        let (stream, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        let mut socket = Self { stream };
        let connect = format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}");
        let (commands, mut replies) = match channel {
            None => (connect, 1),
            Some(channel) => {
                (format!("{connect}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{channel}\"}}}}"), 2)
            }
        };
        socket.stream.send(Message::text(commands)).await?;
        while replies > 0 {
            for line in socket.next().await?.lines() {
                if line.contains("\"error\"") {
                    bail!("{line}");
                }
                replies -= usize::from(line.contains("\"id\":"));
            }
        }
        Ok(socket)
    }

    /// The next text frame; pings are answered.
    pub async fn next(&mut self) -> Result<String> {
        loop {
            match self.stream.next().await.context("closed")?? {
                Message::Text(text) if text.as_str() == "{}" => self.stream.send(Message::text("{}")).await?,
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The bare socket, for those who only count bytes. What was read already is lost.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Reads and answers pings until the end.
    pub async fn hold(mut self) {
        while self.next().await.is_ok() {}
    }

    /// Publishes all of them in one frame of commands, and waits for the answers.
    pub async fn publish(&mut self, channel: &str, data: impl Iterator<Item = String>) -> Result<()> {
        let mut wanted = 0;
        let commands: Vec<_> = data
            .map(|data| {
                wanted += 1;
                format!("{{\"id\":{},\"publish\":{{\"channel\":\"{channel}\",\"data\":{data}}}}}", wanted + 2)
            })
            .collect();
        self.stream.send(Message::text(commands.join("\n"))).await?;
        while wanted > 0 {
            for line in self.next().await?.lines() {
                if line.contains("\"error\"") {
                    bail!("{line}");
                }
                wanted -= usize::from(line.contains("\"id\":"));
            }
        }
        Ok(())
    }
}

/// Connects from 127.0.0.1 … 127.0.0.8 in turn, with a few retries while the listener's queue is full.
pub async fn connect_from(address: SocketAddr, n: usize) -> Result<TcpStream> {
    let from = SocketAddr::from(([127, 0, 0, u8::try_from(1 + n % 8)?], 0));
    let mut tries = 0;
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.bind(from)?;
        match socket.connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if tries >= 20 => return Err(error.into()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Opens many, at most 64 at once.
pub async fn open_many(
    address: SocketAddr,
    count: usize,
    bar: &indicatif::ProgressBar,
    user: impl Fn(usize) -> String,
    channel: Option<&str>,
) -> Result<Vec<Socket>> {
    let opened = futures_util::stream::iter(0..count)
        .map(|n| {
            let name = user(n);
            async move {
                let token = crate::target::Target::token(&name)?;
                let socket = Socket::open(address, n, &token, channel).await;
                bar.inc(1);
                socket.with_context(|| format!("connection {n}"))
            }
        })
        .buffer_unordered(64)
        .collect::<Vec<_>>()
        .await;
    opened.into_iter().collect()
}

/// A bar for work that takes a while.
pub fn bar(len: usize, what: &str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(len as u64);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg:28} {bar:40} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}
