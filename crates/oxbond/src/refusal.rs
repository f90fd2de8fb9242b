//! Errors of the parts as failures of a command: whose move it is, and what the driver would answer.

use oxbond_core::bond::InputError;
use oxbond_linux::engine::EngineError;
use oxbond_linux::error::KernelError;
use oxbond_linux::inspect::{NameRefusal, PortRefusal};

use crate::exit::{Blame, DriverAnswer, Failure};

pub(crate) fn configuration(e: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Configuration, e)
}

/// A refusal of the core, with the driver's answer where there is one.
pub(crate) fn refused_by_core(e: impl Into<InputError>) -> Failure {
    let e = e.into();
    let driver = match &e {
        InputError::Config(config) => config.driver(),
        InputError::LastToDrain { .. } => return refused(e),
        _ => None,
    };
    configuration(&e).with_driver(driver)
}

/// A refusal of an interface as a port, with the driver's answer where there is one.
pub(crate) fn refused_as_port(e: PortRefusal) -> Failure {
    let driver = e.driver();
    refused(e).with_driver(driver.as_ref())
}

/// A refusal of a bond's name: one that no interface could have, or one that is in use.
pub(crate) fn refused_as_name(e: NameRefusal) -> Failure {
    match e {
        NameRefusal::InUse { .. } => refused(e),
        NameRefusal::Kernel(e) => kernel(e),
        NameRefusal::Empty
        | NameRefusal::TooLong { .. }
        | NameRefusal::Character { .. }
        | NameRefusal::Reserved { .. } => configuration(e),
    }
}

pub(crate) fn refused(e: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Refused, e)
}

/// A refusal of the kernel, with its words where it has any.
pub(crate) fn kernel(e: KernelError) -> Failure {
    let blame = match e.is_permission() {
        true => Blame::Permission,
        false => Blame::Kernel,
    };
    let answer = e.ext_ack.clone().map(|text| DriverAnswer {
        errno: e.errno,
        text,
    });
    Failure {
        driver: answer,
        ..Failure::new(blame, e)
    }
}

pub(crate) fn engine_failure(e: EngineError) -> Failure {
    match e {
        EngineError::Option(e) => configuration(&e).with_driver(e.driver),
        EngineError::Kernel(e) => kernel(e),
        e if e.is_permission() => Failure::new(Blame::Permission, e),
        e => Failure::new(Blame::Kernel, e),
    }
}
