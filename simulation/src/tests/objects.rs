//! The object store of the simulated world.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use stitch_common::ports::{ObjectError, ObjectName, ObjectStore, Put};
use stitch_common::range::RangeBits;
use stitch_testkit::time::Micros;

use crate::process::{ProcessSlot, Role};
use crate::world::cassandra::KEEPALIVE;
use crate::world::checker::Checker;
use crate::world::{Handle, StoreFaults, World};

const SECOND: Micros = 1_000_000;

fn world(seed: u64) -> (Rc<World>, Handle) {
    let bits = RangeBits::new(0).unwrap();
    let world = World::new(seed, bits, 1000, Checker::new(bits));
    let process = world.add_process(ProcessSlot(0), Role::Archiver, 0, KEEPALIVE);
    let handle = Handle {
        world: Rc::clone(&world),
        process,
    };
    (world, handle)
}

fn name(name: &str) -> ObjectName {
    ObjectName(format!("folder/{name}"))
}

fn run(world: &Rc<World>, work: impl Future<Output = ()> + 'static) {
    let (ended, end) = (Rc::new(Cell::new(false)), Rc::clone(world));
    let is_over = Rc::clone(&ended);
    world.spawn(async move {
        work.await;
        is_over.set(true);
        end.end();
    });
    assert!(world.run(20 * SECOND));
    assert_eq!(world.finding(), None);
    world.executor.clear();
    assert!(ended.get());
}

#[test]
fn a_write_arrives_although_its_sender_is_killed() {
    let (world, sender) = world(1);
    let (acting, process) = (Rc::clone(&world), Rc::clone(&sender.process));
    world.spawn_of(&process, async move {
        let put = sender.put_if_absent(&name("a"), "a".into()).await;
        panic!("the process was killed before it heard {put:?}");
    });
    let (_, reader) = {
        let process = world.add_process(ProcessSlot(1), Role::Archiver, 0, KEEPALIVE);
        let world = Rc::clone(&world);
        ((), Handle { world, process })
    };
    run(&world, async move {
        acting.executor.until(20).await;
        acting.terminate(&process);
        acting.executor.until(SECOND).await;
        assert_eq!(
            ObjectStore::get(&reader, &name("a")).await,
            Ok(b"a".to_vec())
        );
    });
}

#[test]
fn a_write_of_unknown_outcome_is_there_or_comes_late_or_never_and_replaces_nothing() {
    // There at once, late, never.
    let effects = Rc::new(RefCell::new([0, 0, 0]));
    for seed in 0..60 {
        let (world, handle) = world(seed);
        let faults = StoreFaults {
            ambiguous: 100,
            ..StoreFaults::default()
        };
        world.storage.faults.set(faults);
        let effects = Rc::clone(&effects);
        run(&world, async move {
            let put = handle.put_if_absent(&name("a"), "first".into()).await;
            assert!(matches!(put, Err(ObjectError::Ambiguous { .. })), "{put:?}");
            let at_once = handle.size(&name("a")).await.unwrap();
            let until = handle.world.now() + 2 * SECOND;
            handle.world.executor.until(until).await;
            let later = handle.size(&name("a")).await.unwrap();
            let effect = match (at_once, later) {
                (Some(_), _) => 0,
                (None, Some(_)) => 1,
                (None, None) => 2,
            };
            effects.borrow_mut()[effect] += 1;
            handle.world.storage.faults.set(StoreFaults::default());
            let put = handle.put_if_absent(&name("a"), "second".into()).await;
            let expected = if effect == 2 {
                Put::Created
            } else {
                Put::Exists
            };
            assert_eq!(put, Ok(expected));
        });
    }
    let effects = effects.borrow();
    assert!(effects.iter().all(|count| *count > 5), "{effects:?}");
}

#[test]
fn lists_lag_behind_writes_and_sizes_do_not() {
    let (world, handle) = world(3);
    let faults = StoreFaults {
        lists_lag: true,
        ..StoreFaults::default()
    };
    world.storage.faults.set(faults);
    run(&world, async move {
        let folder = ObjectName("folder".to_owned());
        for number in 0..20 {
            let name = name(&number.to_string());
            handle.put_if_absent(&name, "x".into()).await.unwrap();
            assert_eq!(handle.size(&name).await, Ok(Some(1)));
        }
        let listed = handle.list(&folder, None).await.unwrap().len();
        assert!(listed < 20, "{listed}");
        let until = handle.world.now() + 2 * SECOND;
        handle.world.executor.until(until).await;
        assert_eq!(handle.list(&folder, None).await.unwrap().len(), 20);
    });
}
