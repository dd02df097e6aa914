//! A scheduler's flags, and the one table of their names.

use bitflags::bitflags;

use crate::model::name::Scheduler;

bitflags! {
    /// Flags with a scheduler-specific meaning (`IP_VS_SVC_F_SCHED*`, `linux/ip_vs.h`).
    ///
    /// Bits unknown to this version are kept as the kernel reports them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[doc(alias = "IP_VS_SVC_F_SCHED_MASK")]
    pub struct SchedulerFlags: u32 {
        /// The first flag.
        #[doc(alias = "IP_VS_SVC_F_SCHED1")]
        const FLAG_1 = ipvs_sys::ServiceFlags::SCHED_1.bits();
        /// The second flag.
        #[doc(alias = "IP_VS_SVC_F_SCHED2")]
        const FLAG_2 = ipvs_sys::ServiceFlags::SCHED_2.bits();
        /// The third flag; no scheduler of Linux 7.2 uses it.
        #[doc(alias = "IP_VS_SVC_F_SCHED3")]
        const FLAG_3 = ipvs_sys::ServiceFlags::SCHED_3.bits();
        /// `sh`: choose another real server where the hashed one is unavailable.
        #[doc(alias = "IP_VS_SVC_F_SCHED_SH_FALLBACK")]
        const SH_FALLBACK = ipvs_sys::ServiceFlags::SCHED_SH_FALLBACK.bits();
        /// `sh`: hash the source port too.
        #[doc(alias = "IP_VS_SVC_F_SCHED_SH_PORT")]
        const SH_PORT = ipvs_sys::ServiceFlags::SCHED_SH_PORT.bits();
        /// `mh`: choose another real server where the hashed one is unavailable.
        #[doc(alias = "IP_VS_SVC_F_SCHED_MH_FALLBACK")]
        const MH_FALLBACK = ipvs_sys::ServiceFlags::SCHED_MH_FALLBACK.bits();
        /// `mh`: hash the source port too.
        #[doc(alias = "IP_VS_SVC_F_SCHED_MH_PORT")]
        const MH_PORT = ipvs_sys::ServiceFlags::SCHED_MH_PORT.bits();
        /// Any bit except those that [`Service`](crate::Service) has fields for.
        const _ = !0;
    }
}

/// A name of a scheduler flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchedulerFlagName {
    /// The name.
    pub name: &'static str,
    /// The flag.
    pub flag: SchedulerFlags,
    /// The scheduler that gives the flag this meaning; `None` for a name that is only the flag's
    /// number and fits any scheduler.
    pub scheduler: Option<Scheduler>,
}

const fn of(scheduler: Scheduler, name: &'static str, flag: SchedulerFlags) -> SchedulerFlagName {
    SchedulerFlagName { name, flag, scheduler: Some(scheduler) }
}

const fn numbered(name: &'static str, flag: SchedulerFlags) -> SchedulerFlagName {
    SchedulerFlagName { name, flag, scheduler: None }
}

impl SchedulerFlags {
    /// Every name that a flag has: in files, in plans, and in `ipvsadm` (`-b`, lists, JSON,
    /// completions). The names are those of the C `ipvsadm` (ipvsadm(8), `--sched-flags`); the
    /// kernel knows only bits.
    ///
    /// The C program's rules differ from the kernel's:
    ///
    /// - The kernel takes any flag with any scheduler, which ignores those it doesn't know. The C
    ///   program refuses a name that belongs to another scheduler than the one given.
    /// - In lists, the C program writes only `sh`'s and `mh`'s own names for these schedulers (so
    ///   `flag-3` alone is an empty pair of parentheses), and never bits without a name.
    pub const NAMES: [SchedulerFlagName; 7] = [
        of(Scheduler::SH, "sh-fallback", Self::SH_FALLBACK),
        of(Scheduler::SH, "sh-port", Self::SH_PORT),
        of(Scheduler::MH, "mh-fallback", Self::MH_FALLBACK),
        of(Scheduler::MH, "mh-port", Self::MH_PORT),
        numbered("flag-1", Self::FLAG_1),
        numbered("flag-2", Self::FLAG_2),
        numbered("flag-3", Self::FLAG_3),
    ];

    /// The names of the flags that are set, one for each: as `scheduler` calls it, else by number.
    /// Bits without a name are left out: see [`unnamed`](Self::unnamed).
    ///
    /// ```
    /// use ipvs::{Scheduler, SchedulerFlags};
    ///
    /// let flags = SchedulerFlags::FLAG_2 | SchedulerFlags::FLAG_3;
    /// let names = |scheduler| flags.names(scheduler).map(|it| it.name).collect::<Vec<_>>();
    /// assert_eq!(names(Some(Scheduler::MH)), ["mh-port", "flag-3"]);
    /// assert_eq!(names(None), ["flag-2", "flag-3"]);
    /// ```
    pub fn names(self, scheduler: Option<Scheduler>) -> impl Iterator<Item = SchedulerFlagName> {
        let numbered = Self::NAMES.into_iter().filter(|it| it.scheduler.is_none());
        numbered.filter(move |it| self.contains(it.flag)).map(move |numbered| {
            let own = |it: &SchedulerFlagName| {
                it.flag == numbered.flag && it.scheduler.is_some() && it.scheduler == scheduler
            };
            Self::NAMES.into_iter().find(own).unwrap_or(numbered)
        })
    }

    /// The bits that have no name.
    #[must_use]
    pub fn unnamed(self) -> Self {
        Self::NAMES.iter().fold(self, |rest, it| rest - it.flag)
    }
}
