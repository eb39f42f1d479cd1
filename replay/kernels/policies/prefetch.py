"""Ask for a table row before it is needed.

Kernels that walk a trace know which rows they will touch a few requests ahead; a row that is not in
a cache costs more than the work done on it. The request changes nothing, and may be ignored.
"""

from __future__ import annotations

from replay.kernels.jit import instruction


@instruction
def prefetch_row(typing, rows, row):
    """Fetch the first cache line of `rows[row]`, a row of a contiguous two-dimensional array."""
    from llvmlite import ir
    from numba.core import cgutils, types

    def generate(context, builder, signature, arguments):
        array_type = signature.args[0]
        array = context.make_array(array_type)(context, builder, arguments[0])
        row = context.cast(builder, arguments[1], signature.args[1], types.intp)
        strides = cgutils.unpack_tuple(builder, array.strides, array_type.ndim)
        byte = ir.IntType(8)
        start = builder.bitcast(array.data, byte.as_pointer())
        address = builder.gep(start, [builder.mul(row, strides[0])])
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte.as_pointer()], kind)
        builder.call(prefetch, [address, flag(1), flag(3), flag(1)])  # to write, near, data
        return context.get_dummy_value()

    return types.void(rows, row), generate
