//! What others see of a user.

use fama_protocol::UnixMs;

/// As what a user wants to be seen while connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chosen {
    /// As connected.
    #[default]
    Online,
    /// As connected, but not at hand.
    Away,
    /// As not connected.
    Invisible,
}

/// What others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// Connected.
    Online,
    /// Connected, but not at hand.
    Away,
    /// Not connected, or invisible.
    #[default]
    Offline,
}

impl Status {
    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}

/// What is kept of a user, connected or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// What the user chose last.
    pub chosen: Chosen,
    /// When others could see the user last.
    pub last_seen: Option<UnixMs>,
}

/// A user as others see them. The default is what is seen of somebody unknown, and of somebody who may not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Online, away or offline.
    pub status: Status,
    /// `None` while connected, and for who was never seen.
    pub last_seen: Option<UnixMs>,
    /// How many devices are connected; 0 if offline.
    pub devices: u32,
}

impl Seen {
    /// With so many devices connected on all nodes.
    pub fn of(devices: u32, kept: Kept) -> Self {
        let status = match kept.chosen {
            _ if devices == 0 => Status::Offline,
            Chosen::Online => Status::Online,
            Chosen::Away => Status::Away,
            Chosen::Invisible => Status::Offline,
        };
        if status == Status::Offline {
            return Self { status, last_seen: kept.last_seen, devices: 0 };
        }
        Self { status, last_seen: None, devices }
    }

    /// What is told of it: how many devices there are is for those who ask.
    #[must_use]
    pub fn told(self) -> Self {
        Self { devices: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invisible_look_as_if_they_were_not_there() {
        let kept = |chosen| Kept { chosen, last_seen: Some(UnixMs(7)) };
        let away = Seen::of(2, kept(Chosen::Away));
        assert_eq!(away, Seen { status: Status::Away, last_seen: None, devices: 2 });
        assert_eq!(Seen::of(3, kept(Chosen::Invisible)), Seen::of(0, kept(Chosen::Online)));
        assert_eq!(Seen::of(0, Kept::default()), Seen::default());
    }
}
