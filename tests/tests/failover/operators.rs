//! What moves an address besides failures: operators, scripts and services of `ldirectord`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Suite, TempDir, eventually};
use serde_json::Value;

use crate::test;
use ipvs_tests::failover::peer::{Router, Way, outwait, start_both};
use ipvs_tests::failover::stage::{LIMIT, Stage, VIP};
use ipvs_tests::failover::watch::{Watch, only};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(an_operator_moves_the_address));
    suite.add(test!(the_status_is_what_the_machine_shows));
    suite.add(test!(a_script_moves_the_address));
    suite.add(test!(a_service_of_ldirectord_moves_the_address));
    suite.add(test!(a_command_is_told_about_each_state));
}

fn an_operator_moves_the_address(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    start_both(&mut better, &mut worse, &watch)?;
    for name in [None, Some("front")] {
        better.ask("release", name)?.success()?;
        watch.until(only(1))?;
        // A priority of 0 is over with this; the better one takes it back.
        better.ask("auto", name)?.success()?;
        watch.until(only(0))?;
        worse.ask("prefer", name)?.success()?;
        watch.until(only(1))?;
        worse.ask("auto", name)?.success()?;
        watch.until(only(0))?;
    }
    // What was decided holds over a reload.
    better.ask("release", None)?.success()?;
    watch.until(only(1))?;
    better.ask("reload", None)?.success()?;
    outwait();
    ensure!(watch.owners() == Some(only(1)), "{:?}: {}", watch.owners(), better.said()?);
    let nobody = better.ask("release", Some("back"))?;
    ensure!(nobody.status.code() == Some(1) && nobody.stderr.contains("\"back\""), "{nobody:?}");
    worse.stop()?;
    better.stop()?;
    let gone = better.ask("status", None)?;
    ensure!(gone.status.code() == Some(3), "{gone:?}");
    Ok(())
}

fn the_status_is_what_the_machine_shows(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    let watch = Watch::start(&stage.directors, VIP)?;
    better.start()?;
    worse.start()?;
    watch.until(only(0))?;
    let status = |router: &Router| -> Result<Value> {
        let status: Value = serde_json::from_str(&router.ask("status --json", None)?.success()?)?;
        Ok(status["vips"][0].clone())
    };
    eventually(LIMIT, || {
        let [first, second] = [status(&better)?, status(&worse)?];
        ensure!(first["state"] == "active" && second["state"] == "backup", "{first} {second}");
        ensure!(first["adverts"]["sent"].as_u64() > Some(2), "{first}");
        ensure!(second["adverts"]["received"].as_u64() > Some(2), "{second}");
        ensure!(second["adverts"]["sent"] == 0, "{second}");
        Ok(())
    })?;
    let metrics = better.ask("status --metrics", None)?.success()?;
    ensure!(metrics.contains("\nvip_state{name=\"front\",state=\"active\"} 1\n"), "{metrics}");
    // A file with a mistake changes nothing, and the status says so.
    better.text = Some("[[vip]]\nname = 7\n".to_owned());
    better.configure()?;
    let refused = better.ask("reload", None)?;
    ensure!(
        refused.status.code() == Some(1) && refused.stderr.contains("vip.toml:2:8"),
        "{refused:?}"
    );
    let text = better.ask("status", None)?.success()?;
    ensure!(text.contains("not in force") && text.contains("vip.toml:2:8"), "{text}");
    ensure!(watch.owners() == Some(only(0)), "{:?}", watch.owners());
    worse.stop()?;
    better.stop()
}

fn a_script_moves_the_address(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let folder = TempDir::create(&format!("{}-script", stage.client.name()))?;
    let flag = folder.write("flag", "")?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    better.more = format!(
        "track = [{{ script = [\"/usr/bin/test\", \"-e\", \"{}\"], timeout = \"20s\", weight = -60 }}]\n",
        flag.display()
    );
    let watch = Watch::start(&stage.directors, VIP)?;
    better.start()?;
    worse.start()?;
    watch.until(only(0))?;
    fs::remove_file(&flag)?;
    watch.until(only(1))?;
    let status = better.ask("status", None)?.success()?;
    ensure!(status.contains("priority   90 = 150 - 60 (script /usr/bin/test"), "{status}");
    folder.write("flag", "")?;
    watch.until(only(0))?;
    worse.stop()?;
    better.stop()
}

/// A stand-in for the daemon's socket, which says what it says (CONTROL.md of `ipvs-director`). No
/// kernel with IPVS is needed.
fn a_service_of_ldirectord_moves_the_address(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let instance = format!("failover-{}", std::process::id());
    fs::create_dir_all("/run/ldirectord")?;
    let path = format!("/run/ldirectord/{instance}.sock");
    let listener = UnixListener::bind(&path).context("cannot listen")?;
    let [mut better, mut worse] = Router::pair(&stage, Way::V3)?;
    better.more = format!(
        "track = [{{ service = \"tcp/{VIP}:80\", instance = \"{instance}\", min_up = 2, for = \"3s\" }}]\n"
    );
    let watch = Watch::start(&stage.directors, VIP)?;
    better.start()?;
    let (mut client, _) = listener.accept()?;
    client.set_read_timeout(Some(LIMIT))?;
    let mut request = String::new();
    BufReader::new(&client).read_line(&mut request)?;
    ensure!(request.contains("\"subscribe\""), "{request}");
    let mut until = |up: u32, owner: usize| {
        let line = format!(
            "{{\"v\":1,\"id\":1,\"ok\":{{\"pools\":[{{\"service\":\"tcp/{VIP}:80\",\"up\":{up},\"servers\":3,\"on_fallback\":false}}]}}}}\n"
        );
        eventually(LIMIT, || {
            client.write_all(line.as_bytes())?;
            let owners = watch.owners();
            ensure!(owners == Some(only(owner)), "with {up} up the owners are {owners:?}");
            Ok(())
        })
    };
    until(2, 0)?;
    worse.start()?;
    worse.until_said("Backup")?;
    until(1, 1)?;
    until(3, 0)?;
    // Now it says nothing any more.
    watch.until(only(1))?;
    drop(client);
    fs::remove_file(&path)?;
    worse.stop()?;
    better.stop()
}

fn a_command_is_told_about_each_state(context: &mut Context) -> Result<()> {
    let stage = Stage::build(context)?;
    let folder = TempDir::create(&format!("{}-notify", stage.client.name()))?;
    let log = folder.path().join("log");
    let script = folder.write("script", &format!("echo $* >> {}\n", log.display()))?;
    let [mut router, _] = Router::pair(&stage, Way::V3)?;
    router.more = format!("notify = [\"/bin/sh\", \"{}\"]\n", script.display());
    router.start()?;
    let told = |expected: &str| {
        eventually(LIMIT, || {
            let told = fs::read_to_string(&log)?;
            ensure!(told == expected, "{told}");
            Ok(())
        })
    };
    told("front backup\nfront active\n")?;
    router.ask("release", None)?.success()?;
    told("front backup\nfront active\nfront initialize\n")?;
    // A daemon that ends waits for the command; it has been told so already.
    router.stop()?;
    told("front backup\nfront active\nfront initialize\n")
}
