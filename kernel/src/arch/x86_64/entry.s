# Every way into the kernel and out of it. Offsets and selectors come in as operands (see entry.rs).
#
# In the kernel GS points to the CPU's data; `swapgs` happens exactly where the privilege level changes.
# `struct pt_regs` (UserRegs) of an entry from user space ends at the top of the kernel stack. Between entry and exit:
#     rbx = the current thread's ThreadArch,  rsp = UserRegs - 8 (so that calls find an aligned stack)
# The first 8 bytes of ThreadArch are work bits: anything set there means the slow way out.

.section .entry.text, "ax"


.set REGS_RIP, 128
.set REGS_CS, 136

# Pushes what lies below rdi in UserRegs and clears rbp's way for backtraces where the caller is user space.
.macro push_below_rdi rax_slot
    push rsi
    push rdx
    push rcx
    push \rax_slot
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
.endm

.macro pop_down_to_rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rax
    pop rcx
    pop rdx
    pop rsi
.endm

# --- System calls ------------------------------------------------------------------------------------
# FMASK has cleared IF, DF, TF, AC, NT and more. rcx = return address, r11 = flags.
.balign 64
.global syscall_entry
syscall_entry:
    swapgs
    mov gs:[{user_rsp}], rsp
    mov rsp, gs:[{rsp0}]
    push {user_ss}
    push qword ptr gs:[{user_rsp}]
    push r11
    push {user_cs}
    push rcx
    push rax                        # orig_rax
    push rdi
    push_below_rdi -38              # rax: ENOSYS until there is a result
    mov rdi, rsp
    mov rbx, gs:[{current}]
    xor ebp, ebp
    push rbp                        # alignment; also the end of a backtrace
    sti
    call {dispatch}
    cli
    cmp qword ptr [rbx], 0
    jne 3f
1:  add rsp, 8
    pop_down_to_rsi
    # sysret needs rcx = rip and r11 = flags, no single step, and a return address in the user half: with another one
    # some processors fault in the kernel on the user's stack.
    mov rdi, rcx
    shr rdi, 47
    jnz 2f
    cmp rcx, [rsp + 16]
    jne 2f
    cmp r11, [rsp + 32]
    jne 2f
    cmp dword ptr [rsp + 24], {user_cs}
    jne 2f
    test r11d, 0x10100              # RF, TF
    jnz 2f
    mov rdi, [rsp]
    mov rsp, [rsp + 40]
    swapgs
    sysretq
2:  pop rdi
    add rsp, 8
    swapgs
    jmp iret_to_user
3:  lea rdi, [rsp + 8]
    call {exit_slow}
    jmp 1b

# `syscall` in 32-bit code, on processors that have it there: no call is known by it. The flags, in r11, go back as they came.
.global syscall32_entry
syscall32_entry:
    mov eax, -38                    # ENOSYS
    sysret

# --- Back to user space with all registers -----------------------------------------------------------
.global return_to_user
return_to_user:
    cli
    cmp qword ptr [rbx], 0
    jne 2f
1:  add rsp, 8
    pop_down_to_rsi
    pop rdi
    add rsp, 8
    swapgs
.global iret_to_user
iret_to_user:
    iretq
2:  lea rdi, [rsp + 8]
    call {exit_slow}
    jmp 1b

# --- Exceptions and interrupts -----------------------------------------------------------------------
# Stubs push an error code where the processor did not, save rdi and put the vector there.
.balign 16
exception_common:
    push_below_rdi rax
    cld
771:
    .byte 0x0f, 0x1f, 0x00          # becomes clac where there is SMAP
    .pushsection .feature_patches, "a"
    .quad 771b, 0xca010f
    .popsection
    mov esi, edi
    mov rdi, rsp
    test byte ptr [rsp + REGS_CS], 3
    jz 1f
    swapgs
    mov rbx, gs:[{current}]
    xor ebp, ebp
    push rbp
    call {exception_user}
    jmp return_to_user
1:  sub rsp, 8
    lea rax, [rip + iret_to_user]
    cmp rax, [rdi + REGS_RIP]
    je bad_iret
    call {exception_kernel}
return_to_kernel:
    add rsp, 8
    pop_down_to_rsi
    pop rdi
    add rsp, 8
    iretq

# The return to user space itself faulted: CPL 0, but GS is the user's already. The registers are the user's.
bad_iret:
    swapgs
    mov rbx, gs:[{current}]
    xor ebp, ebp
    call {bad_iret}                 # moves the frame to the top of the stack and answers where
    lea rsp, [rax - 8]
    mov rdi, rax
    call {bad_iret_signal}
    jmp return_to_user

.balign 16
interrupt_common:
    push_below_rdi rax
    cld
772:
    .byte 0x0f, 0x1f, 0x00
    .pushsection .feature_patches, "a"
    .quad 772b, 0xca010f
    .popsection
    mov esi, edi
    mov rdi, rsp
    test byte ptr [rsp + REGS_CS], 3
    jz 1f
    swapgs
    mov rbx, gs:[{current}]
    xor ebp, ebp
    push rbp
    call {interrupt}
    jmp return_to_user
1:  sub rsp, 8
    call {interrupt}
    jmp return_to_kernel

# Page faults have a way of their own: they are the only hot exception.
.balign 16
page_fault_entry:
    push rdi
    push_below_rdi rax
    cld
773:
    .byte 0x0f, 0x1f, 0x00
    .pushsection .feature_patches, "a"
    .quad 773b, 0xca010f
    .popsection
    mov rdi, rsp
    test byte ptr [rsp + REGS_CS], 3
    jz 1f
    swapgs
    mov rbx, gs:[{current}]
    xor ebp, ebp
    push rbp
    call {page_fault_user}
    jmp return_to_user
1:  sub rsp, 8
    lea rax, [rip + iret_to_user]
    cmp rax, [rdi + REGS_RIP]
    je bad_iret
    call {page_fault_kernel}
    jmp return_to_kernel

# NMI, double fault, machine check: they may strike between privilege change and swapgs, so GS is set by hand. The
# CPU's data address is in the last word of each exception stack (see descriptors.rs).
.balign 16
paranoid_common:
    push_below_rdi rax
    cld
774:
    .byte 0x0f, 0x1f, 0x00
    .pushsection .feature_patches, "a"
    .quad 774b, 0xca010f
    .popsection
    mov esi, edi
    mov ecx, 0xc0000101             # GS_BASE
    rdmsr
    mov r12d, eax
    mov r13d, edx
    mov rax, rsp
    or rax, 0x3fff
    mov rax, [rax - 7]
    mov rdx, rax
    shr rdx, 32
    wrmsr
    mov rdi, rsp
    sub rsp, 8
    call {paranoid}
    add rsp, 8
    mov ecx, 0xc0000101
    mov eax, r12d
    mov edx, r13d
    wrmsr
    pop_down_to_rsi
    pop rdi
    add rsp, 8
    iretq

# Debug exceptions have a stack of their own: that of a `mov ss` of watched memory followed by `syscall` strikes at the
# kernel's first instruction, with the user's GS and stack. One of user space goes on as any other exception does, on the
# thread's stack, since what follows may sleep.
.balign 16
debug_entry:
    test byte ptr [rsp + 8], 3
    jz 1f
    swapgs
    push rdi
    mov rdi, rsp
    mov rsp, gs:[{rsp0}]
    push qword ptr [rdi + 40]
    push qword ptr [rdi + 32]
    push qword ptr [rdi + 24]
    push qword ptr [rdi + 16]
    push qword ptr [rdi + 8]
    push 0
    push qword ptr [rdi]
    mov edi, 1
    swapgs                          # as exception_common expects it
    jmp exception_common
1:  push 0
    push rdi
    mov edi, 1
    jmp paranoid_common

# Stubs of the 32 exceptions, 16 bytes apart; those with an error code of the processor's do not push one.
.balign 16
.global exception_stubs
exception_stubs:
.set vector, 0
.rept 32
    .balign 16
    .if (vector == 14)
    jmp page_fault_entry
    .elseif (vector == 1)
    jmp debug_entry
    .else
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
    push 0
    .endif
    push rdi
    mov edi, vector
    .if (vector == 2) || (vector == 8) || (vector == 18)
    jmp paranoid_common
    .else
    jmp exception_common
    .endif
    .endif
    .set vector, vector + 1
.endr

# Stubs of the vectors 32 to 255, 16 bytes apart. -1: not a system call, nothing to restart.
.balign 16
.global interrupt_stubs
interrupt_stubs:
.rept 224
    .balign 16
    push -1
    push rdi
    mov edi, vector
    jmp interrupt_common
    .set vector, vector + 1
.endr

# --- Threads -----------------------------------------------------------------------------------------
# switch_stacks(rdi: &mut prev.kernel_sp, rsi: next.kernel_sp)
.balign 16
.global switch_stacks
switch_stacks:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

# A new user thread's first instructions: its UserRegs lie above.
.global user_thread_start
user_thread_start:
    xor ebp, ebp
    call {finish_first_switch}
    mov rbx, gs:[{current}]
    jmp return_to_user

# A new kernel thread's: r12 = entry, r13 = argument.
.global kernel_thread_start
kernel_thread_start:
    xor ebp, ebp
    call {finish_first_switch}
    sti
    mov rdi, r13
    call r12
    ud2

# enter_user(rdi: regs): leaves a kernel thread for user space.
.global enter_user_asm
enter_user_asm:
    lea rsp, [rdi - 8]
    xor ebp, ebp
    mov rbx, gs:[{current}]
    jmp return_to_user
