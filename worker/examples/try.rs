use sandfleet_common::*;
use sandfleet_worker::{
    admission::Admission,
    catalogue::Catalogue,
    sandbox::{Sandbox, classify::classify, native::*, policy::Policy},
};
#[tokio::main]
async fn main() {
    let s = NativeSandbox::open(NativeConfig {
        cgroup_parent: "".into(),
        user_base: 200000,
        cpus: 1.0,
    })
    .await
    .map_err(|e| e.to_string())
    .unwrap();
    let a = Admission {
        max_job_bytes: 8 << 20,
        defaults: Limits::default(),
        caps: Limits::default(),
        catalogue: Catalogue::embedded(),
        isolation: Isolation::Container,
    };
    for code in std::env::args().skip(1) {
        let mut j = Job::new("python", code);
        j.artifacts.push("**".into());
        j.limits.wall_time_ms = Some(2000);
        let p = a.admit(&encode(&j)).unwrap().plan;
        let t = std::time::Instant::now();
        let o = s.run(&p, &|_, _| ()).await;
        println!("{:?} {o:?}", t.elapsed());
        if let Ok(o) = o {
            println!("  {:?}", classify(&o.end, &p.limits, p.output_overflow, &Policy::strict()));
        }
    }
    s.close().await;
}
