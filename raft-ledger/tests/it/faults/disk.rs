//! Disks that fail, are full, or can only be read, under load.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::load::{Load, seed};
use super::nemesis::{World, others};
use super::site::{copy_dir, until};

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_process_and_takes_nothing_acknowledged() {
    let world = World::on_roads(60).await;
    if !world.can_shim("a_disk_that_fails_ends_the_process_and_takes_nothing_acknowledged") {
        return;
    }
    let load = Load::start(&world.sites, seed());
    for (errno, operations) in [(EIO, "s"), (EIO, "ws"), (EROFS, "ws"), (ENOSPC, "w")] {
        load.more(30).await;
        // The one that leads, so that its answers are at stake.
        let n = world.leader().await;
        let (site, shim) = (&world.sites[n], &world.shims[n]);
        shim.disk_fails(errno, operations);
        assert!(site.ends().await, "error {errno} on {operations}: it was to end at once: {}", site.words());
        let said = site.words();
        assert!(said.contains("so that nothing is acknowledged that may be lost"), "{said}");
        load.more(10).await;
        shim.disk_works();
        site.start();
        site.up().await;
        println!("error {errno} on {operations}: ended, and came back; {} answered", load.answered());
    }
    // A disk that cannot be read is not started on.
    let n = world.leader().await;
    let (site, shim) = (&world.sites[n], &world.shims[n]);
    site.kill_9();
    shim.disk_fails(EIO, "r");
    site.start();
    site.ends().await;
    let said = site.words();
    assert!(said.contains("not opened: ") && said.contains("Input/output error"), "{said}");
    shim.disk_works();
    site.start();
    site.up().await;
    load.judge().await;
}

/// A file system of its own, in a file.
struct SmallDisk {
    image: PathBuf,
    at: PathBuf,
}

impl SmallDisk {
    /// Why not, where this user or this machine cannot have one.
    fn mount(image: &Path, at: &Path, megabytes: u64) -> Result<SmallDisk, String> {
        std::fs::File::create(image).unwrap().set_len(megabytes << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &text(image)])?;
        let disk = SmallDisk { image: image.into(), at: at.into() };
        disk.mount_again().map(|()| disk)
    }

    fn mount_again(&self) -> Result<(), String> {
        run("mount", &["-o", "loop,errors=remount-ro", &text(&self.image), &text(&self.at)])
    }

    fn unmount(&self) -> Result<(), String> {
        run("umount", &[&text(&self.at)])
    }

    /// Leaves so many bytes to others.
    fn fill(&self, leave: u64) {
        let stat = rustix::fs::statvfs(&self.at).unwrap();
        let ballast = (stat.f_bavail * stat.f_frsize).saturating_sub(leave);
        run("fallocate", &["-l", &ballast.to_string(), &text(&self.ballast())]).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// What the kernel does when it finds the file system in disorder.
    fn only_reads(&self) -> Result<(), String> {
        let found = run_for("findmnt", &["-n", "-o", "SOURCE", &text(&self.at)])?;
        let device = found.trim().trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "a test\n").map_err(|error| format!("{trigger}: {error}"))
    }

    fn mend(&self) {
        self.unmount().unwrap();
        // 1: errors were corrected.
        let done = Command::new("e2fsck").args(["-f", "-y"]).arg(&self.image).output().unwrap();
        assert!(matches!(done.status.code(), Some(0 | 1)), "{done:?}");
        self.mount_again().unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", &text(&self.at)]);
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    run_for(program, arguments).map(drop)
}

fn run_for(program: &str, arguments: &[&str]) -> Result<String, String> {
    let done =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!("{program} {}: {said}", arguments.join(" "))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_one_that_only_reads_ends_the_process() {
    // As it is shipped: new write-ahead logs, which claim their room at once, are far below it.
    let world = World::on_roads_with(60, 512 << 20).await;
    let n = others(world.leader().await).next().unwrap();
    let site = &world.sites[n];
    site.close().await;
    let (data, kept) = (site.spec.data(), world.dir.path().join("kept"));
    copy_dir(&data, &kept);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    let disk = match SmallDisk::mount(&world.dir.path().join("disk"), &data, 1_536) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED a_full_disk_refuses_and_one_that_only_reads_ends_the_process: {why}");
            return;
        }
    };
    copy_dir(&kept, &data);
    site.start();
    site.up().await;
    let load = Load::start(&world.sites, seed());
    load.more(50).await;

    disk.fill(site.spec.reserve_bytes / 4 * 3);
    // A value that is there already: nothing is added to what clients appended.
    let mut said = String::new();
    until("it refuses", async || {
        said = site.ask("append 0").await.unwrap_or_default();
        said.starts_with("refused")
    })
    .await;
    assert!(said.contains("are free on the ledger's disk"), "{said}");
    // It goes on applying what the others write, and answers who reads.
    let before = site.number("size").await.unwrap();
    until("the others go on", async || site.number("size").await > Some(before + 10)).await;
    std::fs::remove_file(disk.ballast()).unwrap();
    until("it takes again", async || !site.ask("append 0").await.unwrap_or_default().starts_with("refused"))
        .await;
    load.more(30).await;

    match disk.only_reads() {
        Ok(()) => {
            assert!(site.ends().await, "it was to end: {}", site.words());
            load.more(20).await;
            disk.mend();
            site.start();
            site.up().await;
        }
        Err(why) => println!("SKIPPED a_disk_that_only_reads: {why}"),
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.judge().await;
    world.sites.iter().for_each(super::site::Site::kill_9);
}
