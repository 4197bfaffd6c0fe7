//! `engine: wasm`: the bundle's `policy.wasm` (made by `opa build -t wasm -e aegis/gate/evaluation`), run by wasmi's interpreter
//! through OPA's WebAssembly ABI 1.3.
//!
//! A fuel limit ends what runs too long, a memory limit what grows too large, and a module that wants built-ins from its host
//! is refused: none of ours does. Each evaluation has an instance for itself; instances are kept for the next one.
//! Deliberately absent: compiling Rego (OPA's), any import that reaches outside.

#![expect(clippy::disallowed_types, reason = "an instance is memory that a call writes to: idle ones are handed round")]

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use wasmi::{
    Caller, Config, Engine, Error, Instance, Linker, Memory, MemoryType, Module, Store, TypedFunc, WasmParams,
};

use super::Evaluation;
use super::bundle::WASM_ENTRYPOINT;
use super::rego::{Answer, Failure, failed};

/// Fuel for one evaluation: some hundred times what a usual one takes.
const FUEL: u64 = 200_000_000;
/// Most memory of an instance, in pages of 64 KiB: 256 MiB.
const PAGES: u32 = 4096;
/// Most instances that wait for the next call.
const IDLE: usize = 8;

/// A module with its data.
pub(super) struct Machine {
    engine: Engine,
    module: Module,
    data: Vec<u8>,
    idle: Mutex<Vec<Ready>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

/// `opa_eval`: (reserved, entry point, data, input, its length, heap, 0 for JSON) → the answer's address.
type Eval = TypedFunc<(i32, i32, i32, i32, i32, i32, i32), i32>;

/// An instance with the data in it.
struct Ready {
    store: Store<()>,
    memory: Memory,
    eval: Eval,
    data: i32,
    /// Where the heap is free, once the data is in it.
    heap: i32,
}

#[derive(Deserialize)]
struct Answered {
    result: Answer,
}

impl Machine {
    /// Checks and compiles a module, and makes a first instance with `data` (the bundle's `data.json`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn load(wasm: &[u8], data: &[u8]) -> Result<Self, String> {
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm).map_err(|error| format!("policy.wasm is no module: {error}"))?;
        let machine = Self { engine, module, data: data.to_vec(), idle: Mutex::default() };
        let first = machine.instantiate().map_err(|error| format!("policy.wasm can't be used: {error}"))?;
        machine.put_back(first);
        Ok(machine)
    }

    /// Judges a call. Whatever goes wrong is a finding that denies.
    pub(super) fn evaluate(&self, input: &Value) -> Evaluation {
        match self.ask(input) {
            Ok(Answer { matched, findings }) => Evaluation { matched, findings, failures: Vec::new() },
            Err(error) => failed(&Failure::of_the_call(format!("policy.wasm: {error}"))),
        }
    }

    fn ask(&self, input: &Value) -> Result<Answer, Error> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut ready = match kept {
            Some(ready) => ready,
            None => self.instantiate()?,
        };
        // One that failed isn't used again: its memory is in no known state.
        let answer = ready.ask(input)?;
        self.put_back(ready);
        Ok(answer)
    }

    fn put_back(&self, ready: Ready) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(ready);
        }
    }

    fn instantiate(&self) -> Result<Ready, Error> {
        let mut store = Store::new(&self.engine, ());
        store.set_fuel(FUEL)?;
        let memory = Memory::new(&mut store, MemoryType::new(2, Some(PAGES)))?;
        let instance = linker(&self.engine, memory)?.instantiate_and_start(&mut store, &self.module)?;
        let mut module = Exports { store: &mut store, instance, memory };
        let builtins = module.document("builtins")?;
        if builtins.as_object().is_none_or(|builtins| !builtins.is_empty()) {
            return Err(Error::new(format!("it wants built-ins from its host: {builtins}")));
        }
        if module.document("entrypoints")?.get(WASM_ENTRYPOINT).and_then(Value::as_i64) != Some(0) {
            return Err(Error::new(format!("its entry point is not {WASM_ENTRYPOINT}")));
        }
        let length = length(&self.data)?;
        let at = module.call("opa_malloc", length)?;
        memory.write(&mut *module.store, address(at)?, &self.data)?;
        let data = module.call("opa_json_parse", (at, length))?;
        if data == 0 {
            return Err(Error::new("its data is no JSON"));
        }
        let heap = module.call("opa_heap_ptr_get", ())?;
        let eval = instance.get_typed_func(&store, "opa_eval")?;
        Ok(Ready { store, memory, eval, data, heap })
    }
}

impl Ready {
    fn ask(&mut self, input: &Value) -> Result<Answer, Error> {
        let input = input.to_string();
        let length = length(input.as_bytes())?;
        self.store.set_fuel(FUEL)?;
        // The input is put where the heap starts, and the heap behind it: each evaluation begins with the same memory.
        let end = self.heap.checked_add(length).ok_or_else(|| Error::new("the input is too large"))?;
        let missing = address(end)?.saturating_sub(self.memory.data_size(&self.store));
        self.memory.grow(&mut self.store, missing.div_ceil(1 << 16) as u64)?;
        self.memory.write(&mut self.store, address(self.heap)?, input.as_bytes())?;
        let at = self.eval.call(&mut self.store, (0, 0, self.data, self.heap, length, end, 0))?;
        let [Answered { result }] = serde_json::from_str(&text(self.memory, &self.store, at)?)
            .map_err(|error| Error::new(format!("it answers with another document: {error}")))?;
        Ok(result)
    }
}

/// What a module exports, while it is set up.
struct Exports<'a> {
    store: &'a mut Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Exports<'_> {
    fn call<P: WasmParams>(&mut self, name: &str, params: P) -> Result<i32, Error> {
        self.instance.get_typed_func::<P, i32>(&*self.store, name)?.call(&mut *self.store, params)
    }

    fn document(&mut self, name: &str) -> Result<Value, Error> {
        let value = self.call(name, ())?;
        let at = self.call("opa_json_dump", value)?;
        serde_json::from_str(&text(self.memory, self.store, at)?).map_err(|error| Error::new(error.to_string()))
    }
}

/// What a module may reach: its memory, and functions that end it.
fn linker(engine: &Engine, memory: Memory) -> Result<Linker<()>, Error> {
    fn refuse() -> Result<i32, Error> {
        Err(Error::new("it called a built-in of its host"))
    }
    let mut linker = Linker::new(engine);
    linker.define("env", "memory", memory)?;
    linker.func_wrap("env", "opa_abort", |_: Caller<'_, ()>, _: i32| -> Result<(), Error> {
        Err(Error::new("it gave up"))
    })?;
    linker.func_wrap("env", "opa_println", |_: Caller<'_, ()>, _: i32| {})?;
    linker.func_wrap("env", "opa_builtin0", |_: i32, _: i32| refuse())?;
    linker.func_wrap("env", "opa_builtin1", |_: i32, _: i32, _: i32| refuse())?;
    linker.func_wrap("env", "opa_builtin2", |_: i32, _: i32, _: i32, _: i32| refuse())?;
    linker.func_wrap("env", "opa_builtin3", |_: i32, _: i32, _: i32, _: i32, _: i32| refuse())?;
    linker.func_wrap("env", "opa_builtin4", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| refuse())?;
    Ok(linker)
}

fn address(at: i32) -> Result<usize, Error> {
    usize::try_from(at).map_err(|_| Error::new("an address below zero"))
}

fn length(bytes: &[u8]) -> Result<i32, Error> {
    i32::try_from(bytes.len()).map_err(|_| Error::new("more data than the module's memory has room for"))
}

/// The text at an address, up to its zero byte.
fn text(memory: Memory, store: &Store<()>, at: i32) -> Result<String, Error> {
    let rest = memory.data(store).get(address(at)?..).ok_or_else(|| Error::new("an address beyond the memory"))?;
    let end = rest.iter().position(|byte| *byte == 0).ok_or_else(|| Error::new("a text without an end"))?;
    let text = rest.get(..end).unwrap_or_default();
    String::from_utf8(text.to_vec()).map_err(|error| Error::new(error.to_string()))
}
