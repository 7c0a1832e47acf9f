"""From a Python loop to position-independent machine code: an *image*, which kernels/jit/executable.pyx loads.

Numba compiles the loop, LLVM writes assembly, and code and constants are put into a single section. So the assembler
itself resolves every reference, and loading the code needs no linker, no Numba and no LLVM, which cost a new process
half a second. Functions of the C library (LLVM turns loops that fill or copy memory into calls) are reached through
the image's header.

Where a reference remains unresolved, as on CPUs whose instructions address pages, the code is LLVM's object file, which
llvmlite loads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

INT32: ir.IntType = ir.IntType(32)
INT64: ir.IntType = ir.IntType(64)
BYTES: ir.PointerType = ir.IntType(8).as_pointer()

# The functions that LLVM calls on its own account, in the order of the header's words.
_MEMORY_FUNCTIONS = {
    "memset": ir.FunctionType(BYTES, [BYTES, INT32, INT64]),
    "memcpy": ir.FunctionType(BYTES, [BYTES, BYTES, INT64]),
    "memmove": ir.FunctionType(BYTES, [BYTES, BYTES, INT64]),
}

_NAME = "fastconv_kernel"
_HEADER = ".fastconv_header"

# Objects loaded by llvmlite: their code lives as long as they do.
_engines: list[llvm.ExecutionEngine] = []


def compiled(loop: Callable[..., None], dtype: np.dtype) -> bytes:
    """The code of a tile kernel ``loop(arrays, ints, scalars, begin, end, worker)`` for arrays of `dtype`."""
    module, machine = _module(loop, dtype)
    return _flat(module.clone(), machine) or machine.emit_object(module)


def load_object(code: bytes) -> int:
    """The address of a kernel that is stored as an object file."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(_NAME))


def _module(loop: Callable[..., None], dtype: np.dtype) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """LLVM's module of a tile kernel, in which only the kernel is visible from outside, and the machine for it."""
    from numba import from_dtype, types
    from numba.core import cgutils, compiler
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    typing, target = cpu_target.typing_context, cpu_target.target_context
    pointer = types.CPointer(from_dtype(dtype))
    arguments: list[types.Type] = [types.CPointer(pointer), types.CPointer(types.int64), types.CPointer(types.float64)]
    arguments += [types.int64] * 3
    flags: Any = compiler.Flags()
    # Contraction lets a multiplication and an addition fuse. Nothing is reassociated, so sums keep their order.
    cpu_target.options.parse_as_flags(flags, {"nopython": True, "fastmath": {"contract"}, "error_model": "numpy"})
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    with global_compiler_lock:
        result = compiler.compile_extra(typing, target, loop, arguments, types.void, flags, {})

    # Numba's function returns a status, which a kernel that cannot raise may ignore.
    caller = target.create_module(_NAME)
    kernel_type = ir.FunctionType(ir.VoidType(), [target.get_value_type(of) for of in arguments])
    kernel = ir.Function(caller, kernel_type, _NAME)
    builder = ir.IRBuilder(kernel.append_basic_block())
    callee_type = target.call_conv.get_function_type(types.void, arguments)
    callee = ir.Function(caller, callee_type, result.fndesc.llvm_func_name)
    target.call_conv.call_function(builder, callee, types.void, arguments, kernel.args)
    builder.ret_void()

    module = llvm.parse_assembly(cgutils.normalize_ir_text(str(caller)))
    module.link_in(llvm.parse_assembly(result.library.get_llvm_str()))
    for value in [*module.functions, *module.global_variables]:
        if value.name != _NAME and not value.is_declaration:
            value.linkage = "internal"
    triple, cpu, features = target.codegen().magic_tuple()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
    )
    return module, machine


def _flat(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> bytes | None:
    """The code as an image, with a header added to `module`; ``None`` if it refers to anything outside."""
    module.link_in(llvm.parse_assembly(str(_header(module.triple, module.data_layout))))
    for name in _MEMORY_FUNCTIONS:
        module.get_function(name).linkage = "internal"
    module.get_global_variable("header").linkage = "internal"
    assembly = machine.emit_assembly(module)
    lines = map(_in_one_section, assembly.splitlines())
    llvm.initialize_native_asmparser()
    quoted = "\n".join(lines).replace("\\", "\\5C").replace('"', "\\22").replace("\n", "\\0A")
    assembled = llvm.parse_assembly(f'target triple = "{module.triple}"\nmodule asm "{quoted}"')
    object_file = llvm.ObjectFileRef.from_data(machine.emit_object(assembled))
    sections = {section.name(): section.data() for section in object_file.sections()}
    return None if b".rela.text" in sections else sections[b".text"]


def _in_one_section(line: str) -> str:
    """A line of assembly, with every section replaced by part of one: first the header, then code, then constants."""
    directive, _, rest = line.strip().partition("\t")
    if directive == ".text":
        return "\t.text\t1"
    if directive == ".section" and rest.startswith(_HEADER):
        return "\t.text\t0"
    if directive == ".section" and rest.startswith(".rodata"):
        return "\t.text\t2"
    # References to visible symbols, and calls that could be redirected, would be left to a linker.
    return "" if directive == ".globl" else line.replace("@PLT", "")


def _header(triple: str, data_layout: str) -> ir.Module:
    """The header: where the kernel starts, and addresses filled in at load time, with functions that jump to them."""
    module = ir.Module("header")
    module.triple, module.data_layout = triple, data_layout
    kernel = ir.Function(module, ir.FunctionType(ir.VoidType(), []), _NAME)
    header = ir.GlobalVariable(module, ir.ArrayType(INT64, 1 + len(_MEMORY_FUNCTIONS)), "header")
    header.section = _HEADER
    start = kernel.ptrtoint(INT64).sub(header.ptrtoint(INT64))
    header.initializer = ir.Constant(header.value_type, [start, *[INT64(0)] * len(_MEMORY_FUNCTIONS)])
    for at, (name, of_type) in enumerate(_MEMORY_FUNCTIONS.items(), 1):
        function = ir.Function(module, of_type, name)
        builder = ir.IRBuilder(function.append_basic_block())
        word = builder.load(builder.gep(header, [INT32(0), INT32(at)]))
        builder.ret(builder.call(builder.inttoptr(word, of_type.as_pointer()), function.args, tail=True))
    return module
