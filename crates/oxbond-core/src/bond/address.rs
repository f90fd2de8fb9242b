//! Who has which link-layer address: `fail_over_mac`.
//!
//! | `fail_over_mac` | bond | active port | other ports |
//! |---|---|---|---|
//! | `none`, and in every mode but the three below | its own | the bond's | the bond's |
//! | `active` (active-backup) | the active port's | its own | their own |
//! | `follow` (active-backup); balance-tlb, balance-alb | its own | the bond's | their own; the one before takes over the new one's |
//!
//! The bond's own address is the one its user gave it, else that of the first port that joined.

use oxbond_wire::MacAddr;

use super::{Bond, Port};
use crate::action::Action;
use crate::event::Event;
use crate::option::{FailOverMac, Mode};
use crate::port::PortId;

impl Bond {
    /// The rule in force; `fail_over_mac` acts in active-backup alone.
    fn rule(&self) -> FailOverMac {
        match self.options.mode {
            Mode::ActiveBackup => self.options.fail_over_mac,
            Mode::BalanceTlb | Mode::BalanceAlb => FailOverMac::Follow,
            _ => FailOverMac::None,
        }
    }

    /// The mode, or `fail_over_mac`, is another: every address as it would be had the bond begun with it.
    pub(super) fn address_ruled_anew(&mut self) {
        let permanent = |port: &Port| (port.id, port.permanent_mac);
        let own: Vec<(PortId, MacAddr)> = self.ports.iter().map(permanent).collect();
        let active = own.iter().find(|(id, _)| Some(*id) == self.active).copied();
        match (self.rule(), active) {
            (FailOverMac::None, _) => {
                for (id, _) in own {
                    self.set_port_mac(id, self.mac);
                }
            }
            (FailOverMac::Follow, Some((active, free))) => {
                for (id, mac) in own {
                    let mac = match mac {
                        _ if id == active => self.mac,
                        // Who lent the bond its address gets that of the port which has it now.
                        lent if lent == self.mac => free,
                        own => own,
                    };
                    self.set_port_mac(id, mac);
                }
            }
            (FailOverMac::Active | FailOverMac::Follow, _) => {
                for (id, mac) in own {
                    self.set_port_mac(id, mac);
                }
                if let Some((_, mac)) = active {
                    self.set_own_mac(mac);
                }
            }
        }
    }

    /// A port is about to join, not yet in the list: addresses of bond and port. Answers the port's.
    pub(super) fn address_joining(&mut self, id: PortId, mac: MacAddr) -> MacAddr {
        if self.ports.is_empty() && !self.mac_set {
            self.set_own_mac(mac);
        }
        let given = match self.rule() {
            FailOverMac::None => self.mac,
            FailOverMac::Active => mac,
            FailOverMac::Follow => self.free_address(mac),
        };
        if given != mac {
            self.actions.push_back(Action::SetPortMac {
                port: id,
                mac: given,
            });
        }
        given
    }

    /// The address, unless a port has it: ports swap addresses under `follow`, so one that returns may find its own in
    /// use. It then gets the permanent one of another port that no port uses; there is one, as each has brought one. (The
    /// driver takes a random one.)
    fn free_address(&self, mac: MacAddr) -> MacAddr {
        let used = |mac: MacAddr| self.ports.iter().any(|port| port.mac == mac);
        let others = self.ports.iter().map(|port| port.permanent_mac);
        core::iter::once(mac)
            .chain(others)
            .find(|mac| !used(*mac))
            .unwrap_or(mac)
    }

    /// A port has become the active one.
    pub(super) fn address_active(&mut self, before: Option<PortId>, active: PortId) {
        let Some(mac) = self.port(active).map(|port| port.mac) else {
            return;
        };
        match self.rule() {
            FailOverMac::None => {}
            FailOverMac::Active => self.set_own_mac(mac),
            FailOverMac::Follow if mac == self.mac => {}
            FailOverMac::Follow => {
                let own = self.mac;
                let holds = |port: &&Port| port.id != active && port.mac == own;
                let holder = before
                    .and_then(|id| self.port(id))
                    .filter(holds)
                    .or_else(|| self.ports.iter().find(holds))
                    .map(|port| port.id);
                self.set_port_mac(active, own);
                if let Some(holder) = holder {
                    self.set_port_mac(holder, mac);
                }
            }
        }
    }

    /// The last port has left: an address that was only borrowed from a port goes back with it.
    pub(super) fn address_empty(&mut self) {
        if !self.mac_set && !self.device_mac.is_zero() {
            self.set_own_mac(self.device_mac);
        }
    }

    /// The user gave the front device an address. Where the active port decides it (`fail_over_mac` active or follow)
    /// the one before is restored, as the driver ignores such a wish.
    pub(super) fn address_wished(&mut self, mac: MacAddr) {
        if mac == self.mac {
            return;
        }
        let ignored = self.options.mode == Mode::ActiveBackup && self.rule() != FailOverMac::None;
        if ignored && !self.ports.is_empty() {
            self.actions.push_back(Action::SetBondMac { mac: self.mac });
            return;
        }
        self.mac_set = true;
        self.note_own_mac(mac);
        if self.rule() == FailOverMac::Follow {
            if let Some(active) = self.active {
                self.address_active(None, active);
            }
            return;
        }
        for id in self.ports.iter().map(|port| port.id).collect::<Vec<_>>() {
            self.set_port_mac(id, mac);
        }
    }

    fn set_own_mac(&mut self, mac: MacAddr) {
        if mac != self.mac {
            self.actions.push_back(Action::SetBondMac { mac });
            self.note_own_mac(mac);
        }
    }

    /// The front device has this address now; what is announced at the old one is at the new one.
    fn note_own_mac(&mut self, mac: MacAddr) {
        for announced in self
            .addresses
            .iter_mut()
            .filter(|announced| announced.mac == self.mac)
        {
            announced.mac = mac;
        }
        self.mac = mac;
        self.tell(Event::BondMac { mac });
    }

    fn set_port_mac(&mut self, id: PortId, mac: MacAddr) {
        if let Some(port) = self
            .ports
            .iter_mut()
            .find(|port| port.id == id && port.mac != mac)
        {
            port.mac = mac;
            self.actions.push_back(Action::SetPortMac { port: id, mac });
        }
    }
}
