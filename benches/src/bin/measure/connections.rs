//! Creates connections to list.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;

use anyhow::{Result, ensure};

/// How many connections the connection list has.
pub(crate) const CONNECTIONS: u32 = 100_000;

/// Creates connections by sending datagrams from many addresses and ports to a service whose real
/// server receives them without replying.
pub(crate) fn make() -> Result<()> {
    const PER_ADDRESS: u16 = 20_000;
    let addresses = CONNECTIONS / u32::from(PER_ADDRESS);
    let from = |n: u32| Ipv4Addr::from(0x0a02_0001 + n);
    let mut commands = String::from(
        "link add bench0 type dummy\nlink set bench0 up\naddr add 10.3.0.1/24 dev bench0\n\
         neigh add 10.3.0.2 lladdr 02:00:00:00:00:02 dev bench0\naddr add 10.1.0.1/32 dev lo\n",
    );
    (0..addresses).for_each(|n| commands += &format!("addr add {}/32 dev lo\n", from(n)));
    shell(&format!("ip -batch - <<'END'\n{commands}END"))?;
    shell(
        "ipvsadm --set 0 0 30000 && ipvsadm -A -u 10.1.0.1:53 -s rr && \
         ipvsadm -a -u 10.1.0.1:53 -r 10.3.0.2 -g",
    )?;
    for n in 0..addresses {
        for port in 0..PER_ADDRESS {
            let socket = UdpSocket::bind(SocketAddrV4::new(from(n), 10_000 + port))?;
            socket.send_to(b"x", SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 53))?;
        }
    }
    Ok(())
}

fn shell(script: &str) -> Result<()> {
    let output = Command::new("sh").args(["-ec", script]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{script}` failed: {said}");
    Ok(())
}
