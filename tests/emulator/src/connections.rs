//! The connections that clients have open, as the handle treats them.

use crate::emulator::Emulator;

impl Emulator {
    /// Every connection that is open now takes no more requests: GOAWAY in HTTP/2.
    pub fn go_away(&self) {
        self.inner.lines.all().iter().for_each(|line| line.go_away());
    }

    /// No request on a connection that is open now gets another byte. They stay open, and HTTP/2 goes on answering
    /// pings. New connections are served.
    pub fn silence_connections(&self) {
        self.inner.lines.all().iter().for_each(|line| line.silence());
    }
}
